SELECT task.tenant_id, task.id, task.run_id
FROM task
WHERE task.run_id IS NOT NULL AND task.id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.tenant_id = task.tenant_id AND run.id = task.run_id)
LIMIT $2::integer
