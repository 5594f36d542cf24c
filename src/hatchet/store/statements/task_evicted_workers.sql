-- How many of the named tasks, which are evicted, each worker had last.
SELECT had.worker_id, count(*) AS tasks
FROM unnest($2::uuid[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT a.worker_id FROM task_assignment AS a
    WHERE a.tenant_id = $1::uuid AND a.task_id = asked.id
    ORDER BY a.attempt DESC LIMIT 1
) AS had
GROUP BY had.worker_id
