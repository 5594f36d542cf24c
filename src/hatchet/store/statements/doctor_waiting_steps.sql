-- Which task definitions have attempts that wait for a worker since before $1, and since when the first of them. Those of
-- paused workflows are left out; the end of a pause begins the wait anew. $2: from this id on.
SELECT waiting.version_id, waiting.step_id, v.id IS NULL AS is_unknown, (array_agg(waiting.tenant_id))[1] AS tenant_id,
       (array_agg(waiting.id))[1] AS id,
       extract(epoch FROM min(greatest(waiting.ready_at, workflow.resumed_at)))::float8 AS ready_at
FROM (
    SELECT task.tenant_id, task.id, 0 AS attempt, task.version_id, task.step_id, task.inserted_at AS ready_at
    FROM task
    WHERE task.run_id IS NULL AND task.id >= $2::uuid AND task.inserted_at < to_timestamp($1::float8)
      AND NOT EXISTS (
        SELECT 1 FROM task_assignment AS a WHERE a.tenant_id = task.tenant_id AND a.task_id = task.id AND a.attempt = 0
      )
      AND NOT EXISTS (
        SELECT 1 FROM task_result AS r WHERE r.tenant_id = task.tenant_id AND r.task_id = task.id AND r.attempt = 0
      )
    UNION ALL
    SELECT task.tenant_id, task.id, opened.attempt, task.version_id, task.step_id, opened.ready_at
    FROM (
        SELECT tenant_id, task_id, attempt + 1 AS attempt, retry_at AS ready_at FROM task_result
        WHERE task_id >= $2::uuid AND retry_at < to_timestamp($1::float8)
        UNION ALL
        SELECT tenant_id, task_id, attempt, restored_at FROM task_restore
        WHERE task_id >= $2::uuid AND restored_at < to_timestamp($1::float8)
        UNION ALL
        SELECT tenant_id, task_id, attempt, replayed_at FROM task_replay
        WHERE task_id >= $2::uuid AND replayed_at < to_timestamp($1::float8) AND is_queued
    ) AS opened
    JOIN task ON task.tenant_id = opened.tenant_id AND task.id = opened.task_id
    WHERE NOT EXISTS (
        SELECT 1 FROM task_assignment AS a
        WHERE a.tenant_id = opened.tenant_id AND a.task_id = opened.task_id AND a.attempt = opened.attempt
      )
      AND NOT EXISTS (
        SELECT 1 FROM task_result AS r
        WHERE r.tenant_id = opened.tenant_id AND r.task_id = opened.task_id AND r.attempt >= opened.attempt
      )
) AS waiting
LEFT JOIN workflow_version AS v ON v.id = waiting.version_id
LEFT JOIN workflow ON workflow.id = v.workflow_id
WHERE workflow.paused_at IS NULL
GROUP BY waiting.version_id, waiting.step_id, v.id
LIMIT $3::integer
