-- Attempts that a replay opened before $1, that have not ended, and whose run is not in the list of reopened ones: the next
-- take-over would not find them. $2: from this id on.
SELECT task.tenant_id, task.id, coalesce(task.run_id, task.id) AS run_id, replay.attempt,
       extract(epoch FROM replay.replayed_at)::float8 AS at
FROM task_replay AS replay
JOIN task ON task.tenant_id = replay.tenant_id AND task.id = replay.task_id
WHERE replay.task_id >= $2::uuid AND replay.replayed_at < to_timestamp($1::float8)
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS r
    WHERE r.tenant_id = replay.tenant_id AND r.task_id = replay.task_id AND r.attempt >= replay.attempt
      AND r.retry_at IS NULL
  )
  AND NOT EXISTS (
    SELECT 1 FROM reopened WHERE reopened.tenant_id = task.tenant_id AND reopened.id = coalesce(task.run_id, task.id)
  )
LIMIT $3::integer
