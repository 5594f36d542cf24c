INSERT INTO task_log (tenant_id, task_id, id, attempt, level, message, metadata, created_at)
SELECT line.tenant_id, line.task_id, line.id, line.attempt, line.level, line.message, line.metadata::jsonb,
       to_timestamp(line.created_at)
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::float8[])
  AS line (tenant_id, task_id, id, attempt, level, message, metadata, created_at)
ON CONFLICT DO NOTHING
