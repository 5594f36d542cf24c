-- Runs that match a filter, newest first; a task that is a run of its own is one of them (behaviour-core C-15.3, C-15.4).
-- A null filter lets everything pass. $2 and $3 bound the ids that are looked at, $4 and $5 the time of the insertion.
-- $9: names of statuses and of outcomes, which never contradict each other; $10 and $11: whether what is open and waits,
-- or is open and runs, is wanted. No status is read when all are wanted. Open runs of several tasks pass when either is
-- wanted: is_open says that the caller still has to ask whether they have begun.
-- Facts are looked up run by run, by their keys: before a day has statistics, joins of whole tables took 20 s for
-- 20,000 runs, because the planner took them for empty.
WITH candidate AS (
    SELECT task.id, task.version_id, task.additional_metadata, task.inserted_at,
           CASE WHEN ended.retry_at IS NULL AND coalesce(replay.attempt <= ended.attempt, true) THEN ended.outcome END
             AS how_ended,
           EXISTS (
               SELECT 1 FROM task_assignment AS a
               WHERE a.tenant_id = $1::uuid AND a.task_id = task.id
                 AND a.attempt = greatest(coalesce(ended.attempt + (ended.retry_at IS NOT NULL)::integer, 0),
                                          replay.attempt)
           ) OR coalesce(ended.outcome = 'EVICTED', false) AS is_running
    FROM task
    LEFT JOIN LATERAL (
        SELECT result.attempt, result.outcome, result.retry_at FROM task_result AS result
        WHERE $9::text[] IS NOT NULL AND result.tenant_id = $1::uuid AND result.task_id = task.id
        ORDER BY result.attempt DESC LIMIT 1
    ) AS ended ON true
    LEFT JOIN LATERAL (
        SELECT r.attempt FROM task_replay AS r
        WHERE $9::text[] IS NOT NULL AND r.tenant_id = $1::uuid AND r.task_id = task.id
        ORDER BY r.attempt DESC LIMIT 1
    ) AS replay ON true
    WHERE task.tenant_id = $1::uuid AND task.id >= $2::uuid AND task.id < $3::uuid AND task.run_id IS NULL
    UNION ALL
    SELECT run.id, run.version_id, run.additional_metadata, run.inserted_at,
           CASE WHEN replay.id IS NULL THEN ended.status END AS how_ended,
           NULL AS is_running
    FROM run
    LEFT JOIN LATERAL (
        SELECT result.status FROM run_result AS result
        WHERE $9::text[] IS NOT NULL AND result.tenant_id = $1::uuid AND result.run_id = run.id LIMIT 1
    ) AS ended ON true
    LEFT JOIN LATERAL (
        SELECT reopened.id FROM reopened
        WHERE $9::text[] IS NOT NULL AND reopened.tenant_id = $1::uuid AND reopened.id = run.id LIMIT 1
    ) AS replay ON true
    WHERE run.tenant_id = $1::uuid AND run.id >= $2::uuid AND run.id < $3::uuid
)
SELECT candidate.id, candidate.how_ended IS NULL AND candidate.is_running IS NULL AS is_open
FROM candidate
WHERE candidate.inserted_at BETWEEN to_timestamp($4::float8) AND to_timestamp($5::float8)
  AND ($6::uuid[] IS NULL OR candidate.version_id = ANY (ARRAY(
    SELECT version.id FROM workflow_version AS version
    WHERE version.tenant_id = $1::uuid AND version.workflow_id = ANY ($6::uuid[])
  )))
  AND ($7::text[] IS NULL OR EXISTS (
    SELECT 1 FROM unnest($7::text[], $8::text[]) AS pair (key, value)
    WHERE candidate.additional_metadata ->> pair.key = pair.value
  ))
  AND ($9::text[] IS NULL OR CASE
    WHEN candidate.how_ended IS NOT NULL THEN candidate.how_ended = ANY ($9::text[])
    WHEN $10::boolean = $11::boolean OR candidate.is_running IS NULL THEN $10::boolean OR $11::boolean
    ELSE candidate.is_running = $11::boolean
  END)
ORDER BY candidate.id DESC
LIMIT $12::integer
