-- Attempts that were opened by the end of the one before and are not with a worker; those that wait for a restore are ready
-- at infinity.
SELECT before.task_id AS id, before.attempt + 1 AS attempt, before.app_retries, before.internal_retries,
       before.evictions, before.outcome = 'EVICTED' AS is_evicted,
       extract(epoch FROM coalesce(restore.restored_at, before.retry_at))::float8 AS ready_at, task.version_id, task.step_id, task.run_id, task.priority,
       task.desired_labels::text AS labels, task.limits::text AS limits, task.desired_worker_id
FROM task_result AS before
JOIN task ON task.tenant_id = $1::uuid AND task.id = before.task_id
LEFT JOIN task_restore AS restore ON restore.tenant_id = $1::uuid AND restore.task_id = before.task_id
      AND restore.attempt = before.attempt + 1
WHERE before.tenant_id = $1::uuid AND before.task_id >= $2::uuid AND before.retry_at IS NOT NULL
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS later
    WHERE later.tenant_id = $1::uuid AND later.task_id = before.task_id AND later.attempt = before.attempt + 1
  )
  AND NOT EXISTS (
    SELECT 1 FROM task_assignment AS a
    WHERE a.tenant_id = $1::uuid AND a.task_id = before.task_id AND a.attempt = before.attempt + 1
  )
ORDER BY before.task_id
