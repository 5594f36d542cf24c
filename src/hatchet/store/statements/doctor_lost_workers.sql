-- Attempts with a worker that was not heard of since $1, where the tenant has had an owner for longer than that (one that
-- has just started gives workers time to come back). $2: from this id on, $4: an instance that beat since then lives.
SELECT a.tenant_id, a.task_id AS id, a.attempt, a.worker_id,
       extract(epoch FROM coalesce(worker.last_heartbeat_at, worker.created_at))::float8 AS at
FROM task_assignment AS a
JOIN lease ON lease.name = 'scheduler:' || a.tenant_id
JOIN instance ON instance.id = lease.holder AND instance.heartbeat_at > to_timestamp($4::float8)
             AND instance.started_at < to_timestamp($1::float8)
LEFT JOIN worker ON worker.id = a.worker_id
WHERE a.task_id >= $2::uuid AND a.assigned_at < to_timestamp($1::float8)
  AND (worker.id IS NULL OR coalesce(worker.last_heartbeat_at, worker.created_at) < to_timestamp($1::float8))
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS r WHERE r.tenant_id = a.tenant_id AND r.task_id = a.task_id AND r.attempt = a.attempt
  )
  AND NOT EXISTS (
    SELECT 1 FROM task_note AS n
    WHERE n.tenant_id = a.tenant_id AND n.task_id = a.task_id AND n.attempt = a.attempt AND n.kind = 'SLOT_RELEASED'
  )
  AND EXISTS (SELECT 1 FROM task WHERE task.tenant_id = a.tenant_id AND task.id = a.task_id)
LIMIT $3::integer
