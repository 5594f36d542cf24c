-- The named tasks that have ended and were not opened again, each with its last result.
SELECT result.task_id AS id, task.version_id, task.step_id, result.outcome, result.output, result.error,
       extract(epoch FROM result.finished_at)::float8 AS finished_at
FROM task_result AS result
JOIN task ON task.tenant_id = $1::uuid AND task.id = result.task_id
WHERE result.tenant_id = $1::uuid AND result.task_id = ANY($2::uuid[]) AND result.retry_at IS NULL
  AND NOT EXISTS (
    SELECT 1 FROM task_replay AS replay
    WHERE replay.tenant_id = $1::uuid AND replay.task_id = result.task_id AND replay.attempt > result.attempt
  )
