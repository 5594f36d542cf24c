-- Everything that is known about the attempts of the named tasks, one row an attempt, for their histories. $3: whether
-- outputs are wanted, too. The limits keep the subqueries from becoming joins of whole tables.
SELECT task.id, attempt.number AS attempt,
       extract(epoch FROM task.inserted_at)::float8 AS inserted_at,
       extract(epoch FROM replay.replayed_at)::float8 AS replayed_at,
       extract(epoch FROM a.assigned_at)::float8 AS assigned_at, a.worker_id, a.batch_reason,
       extract(epoch FROM coalesce(start.started_at, result.started_at))::float8 AS started_at,
       extract(epoch FROM restore.restored_at)::float8 AS restored_at, restore.cause AS restore_cause,
       result.outcome, extract(epoch FROM result.finished_at)::float8 AS finished_at,
       extract(epoch FROM result.retry_at)::float8 AS retry_at, result.error,
       CASE WHEN $3::boolean THEN result.output END AS output,
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
LEFT JOIN LATERAL (
    SELECT * FROM task_assignment AS x
    WHERE x.tenant_id = $1::uuid AND x.task_id = task.id AND x.attempt = attempt.number LIMIT 1
) AS a ON true
LEFT JOIN LATERAL (
    SELECT * FROM task_start AS x
    WHERE x.tenant_id = $1::uuid AND x.task_id = task.id AND x.attempt = attempt.number LIMIT 1
) AS start ON true
LEFT JOIN LATERAL (
    SELECT * FROM task_result AS x
    WHERE x.tenant_id = $1::uuid AND x.task_id = task.id AND x.attempt = attempt.number LIMIT 1
) AS result ON true
LEFT JOIN LATERAL (
    SELECT * FROM task_restore AS x
    WHERE x.tenant_id = $1::uuid AND x.task_id = task.id AND x.attempt = attempt.number LIMIT 1
) AS restore ON true
LEFT JOIN LATERAL (
    SELECT * FROM task_replay AS x
    WHERE x.tenant_id = $1::uuid AND x.task_id = task.id AND x.attempt = attempt.number LIMIT 1
) AS replay ON true
WHERE task.tenant_id = $1::uuid AND task.id = ANY($2::uuid[])
ORDER BY task.id, attempt.number
