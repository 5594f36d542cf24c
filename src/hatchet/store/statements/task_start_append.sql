INSERT INTO task_start (tenant_id, task_id, attempt, started_at)
SELECT row.tenant_id, row.task_id, row.attempt, to_timestamp(row.started_at)
FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::float8[]) AS row (tenant_id, task_id, attempt, started_at)
ON CONFLICT DO NOTHING
