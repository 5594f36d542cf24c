-- Attempts that were given to a worker and have not ended: what occupies slots.
SELECT a.task_id AS id, a.attempt, a.worker_id, a.app_retries, a.internal_retries, a.evictions, task.version_id, task.step_id,
       task.run_id, task.priority, task.desired_labels::text AS labels,
       task.limits::text AS limits, task.desired_worker_id, a.batch_id,
       extract(epoch FROM a.assigned_at)::float8 AS assigned_at,
       extract(epoch FROM greatest(a.timeout_at, notes.timeout_at))::float8 AS timeout_at,
       extract(epoch FROM start.started_at)::float8 AS started_at,
       coalesce(notes.is_released, false) AS is_released
FROM task_assignment AS a
JOIN task ON task.tenant_id = $1::uuid AND task.id = a.task_id
LEFT JOIN task_start AS start ON start.tenant_id = $1::uuid AND start.task_id = a.task_id AND start.attempt = a.attempt
LEFT JOIN LATERAL (
    SELECT max(n.timeout_at) AS timeout_at, bool_or(n.kind = 'SLOT_RELEASED') AS is_released
    FROM task_note AS n
    WHERE n.tenant_id = $1::uuid AND n.task_id = a.task_id AND n.attempt = a.attempt
) AS notes ON true
WHERE a.tenant_id = $1::uuid AND a.task_id >= $2::uuid
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS result
    WHERE result.tenant_id = $1::uuid AND result.task_id = a.task_id AND result.attempt = a.attempt
  )
