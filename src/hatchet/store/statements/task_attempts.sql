-- Everything that is known about the attempts of one task, one row an attempt, for its history.
SELECT attempt.number AS attempt,
       extract(epoch FROM task.inserted_at)::float8 AS inserted_at,
       extract(epoch FROM replay.replayed_at)::float8 AS replayed_at,
       extract(epoch FROM a.assigned_at)::float8 AS assigned_at, a.worker_id, a.batch_reason,
       extract(epoch FROM coalesce(start.started_at, result.started_at))::float8 AS started_at,
       extract(epoch FROM restore.restored_at)::float8 AS restored_at, restore.cause AS restore_cause,
       result.outcome, extract(epoch FROM result.finished_at)::float8 AS finished_at,
       extract(epoch FROM result.retry_at)::float8 AS retry_at, result.error,
       (SELECT coalesce(json_agg(json_build_array(n.kind, extract(epoch FROM n.noted_at), coalesce(n.message, ''))
                               ORDER BY n.noted_at), '[]')::text
          FROM task_note AS n
         WHERE n.tenant_id = $1::uuid AND n.task_id = task.id AND n.attempt = attempt.number) AS notes
FROM task
CROSS JOIN LATERAL (
    SELECT 0 AS number
    UNION
    SELECT r.attempt + 1 FROM task_result AS r
    WHERE r.tenant_id = $1::uuid AND r.task_id = task.id AND r.retry_at IS NOT NULL
    UNION
    SELECT r.attempt FROM task_replay AS r
    WHERE r.tenant_id = $1::uuid AND r.task_id = task.id
) AS attempt
LEFT JOIN task_assignment AS a ON a.tenant_id = $1::uuid AND a.task_id = task.id AND a.attempt = attempt.number
LEFT JOIN task_start AS start ON start.tenant_id = $1::uuid AND start.task_id = task.id AND start.attempt = attempt.number
LEFT JOIN task_result AS result ON result.tenant_id = $1::uuid AND result.task_id = task.id AND result.attempt = attempt.number
LEFT JOIN task_restore AS restore ON restore.tenant_id = $1::uuid AND restore.task_id = task.id
      AND restore.attempt = attempt.number
LEFT JOIN task_replay AS replay ON replay.tenant_id = $1::uuid AND replay.task_id = task.id AND replay.attempt = attempt.number
WHERE task.tenant_id = $1::uuid AND task.id = $2::uuid
ORDER BY attempt.number
