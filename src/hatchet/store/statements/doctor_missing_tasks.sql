-- The runs of which one of these tasks has no row.
SELECT DISTINCT row.run_id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS row (tenant_id, run_id, task_id)
WHERE NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = row.tenant_id AND task.id = row.task_id)
