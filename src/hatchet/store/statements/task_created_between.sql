-- What another instance announced: the tasks it created from one id to another. News may be late: what was found by the
-- poll, or at a take-over, may have run since.
SELECT task.id, task.version_id, task.step_id, task.run_id, task.priority, task.desired_labels::text AS labels,
       task.limits::text AS limits, task.desired_worker_id,
       extract(epoch FROM task.inserted_at)::float8 AS ready_at
FROM task
WHERE task.tenant_id = $1::uuid AND task.run_id IS NULL AND task.id BETWEEN $2::uuid AND $3::uuid AND task.creator = $4::uuid
  AND NOT EXISTS (
    SELECT 1 FROM task_assignment AS a
    WHERE a.tenant_id = $1::uuid AND a.task_id = task.id AND a.attempt = 0
  )
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS result
    WHERE result.tenant_id = $1::uuid AND result.task_id = task.id AND result.attempt = 0
  )
ORDER BY task.id
