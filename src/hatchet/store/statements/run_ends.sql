-- Of the named runs that exist: their workflow, and how they ended, by the name of a status or of an outcome; null while
-- they are open. is_running: of a task that is a run of its own and open; null for a run of several tasks. Subqueries and
-- limits keep the facts from being joined: they are looked up run by run, by their keys.
SELECT found.id, version.workflow_id, found.how_ended, found.is_running
FROM unnest($2::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
    (
        SELECT task.id, task.version_id,
               CASE WHEN ended.retry_at IS NULL AND coalesce(replay.attempt <= ended.attempt, true) THEN ended.outcome END
                 AS how_ended,
               EXISTS (
                   SELECT 1 FROM task_assignment AS a
                   WHERE a.tenant_id = $1::uuid AND a.task_id = task.id
                     AND a.attempt = greatest(coalesce(ended.attempt + (ended.retry_at IS NOT NULL)::integer, 0),
                                              replay.attempt)
               ) OR coalesce(ended.outcome = 'EVICTED' AND coalesce(replay.attempt <= ended.attempt, true), false)
                 AS is_running
        FROM task
        LEFT JOIN LATERAL (
            SELECT result.attempt, result.outcome, result.retry_at FROM task_result AS result
            WHERE result.tenant_id = $1::uuid AND result.task_id = task.id
            ORDER BY result.attempt DESC LIMIT 1
        ) AS ended ON true
        LEFT JOIN LATERAL (
            SELECT r.attempt FROM task_replay AS r
            WHERE r.tenant_id = $1::uuid AND r.task_id = task.id
            ORDER BY r.attempt DESC LIMIT 1
        ) AS replay ON true
        WHERE task.tenant_id = $1::uuid AND task.id = asked.id AND task.run_id IS NULL
        LIMIT 1
    )
    UNION ALL
    (
        SELECT run.id, run.version_id,
               CASE WHEN NOT EXISTS (
                   SELECT 1 FROM reopened WHERE reopened.tenant_id = $1::uuid AND reopened.id = run.id
               ) THEN (
                   SELECT result.status FROM run_result AS result
                   WHERE result.tenant_id = $1::uuid AND result.run_id = run.id LIMIT 1
               ) END AS how_ended,
               NULL::boolean AS is_running
        FROM run
        WHERE run.tenant_id = $1::uuid AND run.id = asked.id
        LIMIT 1
    )
) AS found
JOIN LATERAL (
    SELECT v.workflow_id FROM workflow_version AS v WHERE v.id = found.version_id LIMIT 1
) AS version ON true
