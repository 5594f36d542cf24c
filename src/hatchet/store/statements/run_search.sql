-- Runs that match a filter, newest first; a task that is a run of its own is one of them (behaviour-core C-15.3, C-15.4).
-- A null filter lets everything pass. $2 and $3 bound the ids that are looked at, $4 and $5 the time of the insertion.
-- $9: names of statuses and of outcomes, which never contradict each other; $10 and $11: whether what is open and waits,
-- or is open and runs, is wanted. No status is read when all are wanted.
WITH candidate AS (
    SELECT task.id, task.version_id, task.additional_metadata, task.inserted_at, ended.outcome AS how_ended,
           EXISTS (
               SELECT 1 FROM task_assignment AS a
               WHERE a.tenant_id = $1::uuid AND a.task_id = task.id
                 AND NOT EXISTS (
                   SELECT 1 FROM task_result AS r
                   WHERE r.tenant_id = $1::uuid AND r.task_id = a.task_id AND r.attempt = a.attempt
                 )
           ) AS is_running
    FROM task
    LEFT JOIN (
        SELECT result.task_id, result.outcome
        FROM task_result AS result
        WHERE $9::text[] IS NOT NULL AND result.tenant_id = $1::uuid AND result.task_id BETWEEN $2::uuid AND $3::uuid
          AND result.retry_at IS NULL
          AND NOT EXISTS (
            SELECT 1 FROM task_replay AS replay
            WHERE replay.tenant_id = $1::uuid AND replay.task_id = result.task_id AND replay.attempt > result.attempt
          )
    ) AS ended ON ended.task_id = task.id
    WHERE task.tenant_id = $1::uuid AND task.id BETWEEN $2::uuid AND $3::uuid AND task.run_id IS NULL
    UNION ALL
    SELECT run.id, run.version_id, run.additional_metadata, run.inserted_at, ended.status AS how_ended,
           EXISTS (
               -- The ids of a run's tasks differ from its own in the last 62 bits only.
               SELECT 1 FROM task
               WHERE task.tenant_id = $1::uuid AND task.run_id = run.id
                 AND task.id BETWEEN (left(run.id::text, 19) || '8000-000000000000')::uuid
                                 AND (left(run.id::text, 19) || 'bfff-ffffffffffff')::uuid
                 AND (
                   EXISTS (
                     SELECT 1 FROM task_assignment AS a WHERE a.tenant_id = $1::uuid AND a.task_id = task.id
                   )
                   OR EXISTS (SELECT 1 FROM task_result AS r WHERE r.tenant_id = $1::uuid AND r.task_id = task.id)
                 )
           ) AS is_running
    FROM run
    LEFT JOIN (
        SELECT result.run_id, result.status
        FROM run_result AS result
        WHERE $9::text[] IS NOT NULL AND result.tenant_id = $1::uuid AND result.run_id BETWEEN $2::uuid AND $3::uuid
          AND NOT EXISTS (SELECT 1 FROM reopened WHERE reopened.tenant_id = $1::uuid AND reopened.id = result.run_id)
    ) AS ended ON ended.run_id = run.id
    WHERE run.tenant_id = $1::uuid AND run.id BETWEEN $2::uuid AND $3::uuid
)
SELECT candidate.id
FROM candidate
WHERE candidate.inserted_at BETWEEN to_timestamp($4::float8) AND to_timestamp($5::float8)
  AND ($6::uuid[] IS NULL OR candidate.version_id IN (
    SELECT version.id FROM workflow_version AS version
    WHERE version.tenant_id = $1::uuid AND version.workflow_id = ANY ($6::uuid[])
  ))
  AND ($7::text[] IS NULL OR EXISTS (
    SELECT 1 FROM unnest($7::text[], $8::text[]) AS pair (key, value)
    WHERE candidate.additional_metadata ->> pair.key = pair.value
  ))
  AND ($9::text[] IS NULL OR CASE
    WHEN candidate.how_ended IS NOT NULL THEN candidate.how_ended = ANY ($9::text[])
    WHEN $10::boolean = $11::boolean THEN $10::boolean
    ELSE candidate.is_running = $11::boolean
  END)
ORDER BY candidate.id DESC
LIMIT $12::integer
