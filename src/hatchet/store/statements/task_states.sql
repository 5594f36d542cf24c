-- Where the named tasks stand: the last attempt that ended, whether a replay opened one after it, and what is known of
-- the current attempt.
SELECT task.id, task.version_id, task.step_id, task.run_id, task.priority, task.desired_labels::text AS labels,
       task.limits::text AS limits, task.desired_worker_id,
       extract(epoch FROM task.inserted_at)::float8 AS inserted_at,
       ended.attempt AS ended_attempt, ended.outcome, ended.output, ended.error, ended.app_retries, ended.internal_retries,
       ended.evictions, extract(epoch FROM ended.finished_at)::float8 AS finished_at,
       extract(epoch FROM ended.retry_at)::float8 AS retry_at,
       extract(epoch FROM restore.restored_at)::float8 AS restored_at,
       replay.attempt AS replay_attempt, replay.is_queued,
       extract(epoch FROM replay.replayed_at)::float8 AS replayed_at,
       assignment.worker_id, assignment.batch_id, extract(epoch FROM assignment.assigned_at)::float8 AS assigned_at,
       extract(epoch FROM greatest(assignment.timeout_at, notes.timeout_at))::float8 AS timeout_at,
       extract(epoch FROM start.started_at)::float8 AS started_at,
       coalesce(notes.is_released, false) AS is_released
FROM task
LEFT JOIN LATERAL (
    SELECT * FROM task_result AS result
    WHERE result.tenant_id = $1::uuid AND result.task_id = task.id
    ORDER BY result.attempt DESC LIMIT 1
) AS ended ON true
LEFT JOIN LATERAL (
    SELECT * FROM task_replay AS r
    WHERE r.tenant_id = $1::uuid AND r.task_id = task.id
    ORDER BY r.attempt DESC LIMIT 1
) AS replay ON true
LEFT JOIN LATERAL (
    SELECT t.restored_at FROM task_restore AS t
    WHERE ended.outcome = 'EVICTED' AND t.tenant_id = $1::uuid AND t.task_id = task.id AND t.attempt = ended.attempt + 1
) AS restore ON true
LEFT JOIN LATERAL (
    SELECT * FROM task_assignment AS a
    WHERE a.tenant_id = $1::uuid AND a.task_id = task.id
      AND a.attempt = greatest(coalesce(ended.attempt + (ended.retry_at IS NOT NULL)::integer, 0), replay.attempt)
) AS assignment ON true
LEFT JOIN LATERAL (
    SELECT * FROM task_start AS s
    WHERE s.tenant_id = $1::uuid AND s.task_id = task.id AND s.attempt = assignment.attempt
) AS start ON true
LEFT JOIN LATERAL (
    SELECT max(n.timeout_at) AS timeout_at, bool_or(n.kind = 'SLOT_RELEASED') AS is_released
    FROM task_note AS n
    WHERE n.tenant_id = $1::uuid AND n.task_id = task.id AND n.attempt = assignment.attempt
) AS notes ON true
WHERE task.tenant_id = $1::uuid AND task.id = ANY($2::uuid[])
