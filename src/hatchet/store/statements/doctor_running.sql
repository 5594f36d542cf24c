-- How many units of work of each step each worker has: attempts, of those in a batch the batch. $1: from this id on.
SELECT a.tenant_id, a.worker_id, task.version_id, task.step_id, worker.slots::text AS slots,
       count(DISTINCT coalesce(a.batch_id, a.task_id)) AS running
FROM task_assignment AS a
JOIN task ON task.tenant_id = a.tenant_id AND task.id = a.task_id
JOIN worker ON worker.id = a.worker_id
WHERE a.task_id >= $1::uuid
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS r WHERE r.tenant_id = a.tenant_id AND r.task_id = a.task_id AND r.attempt = a.attempt
  )
  AND NOT EXISTS (
    SELECT 1 FROM task_note AS n
    WHERE n.tenant_id = a.tenant_id AND n.task_id = a.task_id AND n.attempt = a.attempt AND n.kind = 'SLOT_RELEASED'
  )
GROUP BY a.tenant_id, a.worker_id, task.version_id, task.step_id, worker.slots
LIMIT $2::integer
