-- Evicted tasks are queued again; the first restore of an attempt wins, and only those that were written come back. A task
-- whose last result is another one has gone on, or has ended.
INSERT INTO task_restore (tenant_id, task_id, attempt, restored_at, cause)
SELECT $1::uuid, last.task_id, last.attempt + 1, to_timestamp($3::float8), $4::text
FROM unnest($2::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT result.task_id, result.attempt, result.outcome FROM task_result AS result
    WHERE result.tenant_id = $1::uuid AND result.task_id = asked.id
    ORDER BY result.attempt DESC LIMIT 1
) AS last
WHERE last.outcome = 'EVICTED'
ON CONFLICT DO NOTHING
RETURNING task_id, attempt
