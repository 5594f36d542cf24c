INSERT INTO task_note (tenant_id, task_id, attempt, noted_at, kind, timeout_at, message)
SELECT row.tenant_id, row.task_id, row.attempt, to_timestamp(row.noted_at), row.kind, to_timestamp(row.timeout_at), row.message
FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::float8[], $5::text[], $6::float8[], $7::text[])
  AS row (tenant_id, task_id, attempt, noted_at, kind, timeout_at, message)
ON CONFLICT DO NOTHING
