-- Those of the named tasks, which are runs of their own, that were evicted and that no worker has again; ready at infinity
-- unless they were restored.
SELECT last.task_id AS id, last.attempt + 1 AS attempt, last.app_retries, last.internal_retries, last.evictions,
       extract(epoch FROM coalesce(restore.restored_at, last.retry_at))::float8 AS ready_at, task.version_id, task.step_id,
       task.run_id, task.priority, task.desired_labels::text AS labels, task.limits::text AS limits, task.desired_worker_id
FROM unnest($2::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT result.* FROM task_result AS result
    WHERE result.tenant_id = $1::uuid AND result.task_id = asked.id
    ORDER BY result.attempt DESC LIMIT 1
) AS last
JOIN task ON task.tenant_id = $1::uuid AND task.id = last.task_id AND task.run_id IS NULL
LEFT JOIN task_restore AS restore ON restore.tenant_id = $1::uuid AND restore.task_id = last.task_id
      AND restore.attempt = last.attempt + 1
WHERE last.outcome = 'EVICTED' AND NOT EXISTS (
    SELECT 1 FROM task_assignment AS a
    WHERE a.tenant_id = $1::uuid AND a.task_id = last.task_id AND a.attempt = last.attempt + 1
)
ORDER BY last.task_id
