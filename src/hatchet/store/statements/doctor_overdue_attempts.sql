-- Attempts with a worker whose execution timeout, the last that was set, passed before $1. $2: from this id on.
SELECT a.tenant_id, a.task_id AS id, a.attempt, extract(epoch FROM greatest(a.timeout_at, notes.timeout_at))::float8 AS at
FROM task_assignment AS a
LEFT JOIN LATERAL (
    SELECT max(n.timeout_at) AS timeout_at FROM task_note AS n
    WHERE n.tenant_id = a.tenant_id AND n.task_id = a.task_id AND n.attempt = a.attempt
) AS notes ON true
WHERE a.task_id >= $2::uuid AND a.timeout_at < to_timestamp($1::float8)
  AND (notes.timeout_at IS NULL OR notes.timeout_at < to_timestamp($1::float8))
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS r WHERE r.tenant_id = a.tenant_id AND r.task_id = a.task_id AND r.attempt = a.attempt
  )
  AND EXISTS (SELECT 1 FROM task WHERE task.tenant_id = a.tenant_id AND task.id = a.task_id)
LIMIT $3::integer
