-- The members of each concurrency group that are with a worker, and the highest limit that one of them brought. $1: from
-- this id on. CANCEL_IN_PROGRESS is left out: there the newest may be with a worker while the others are being stopped.
SELECT a.tenant_id, ask ->> 0 AS rule, ask ->> 2 AS key, max((ask ->> 3)::bigint) AS max_runs, count(*) AS members,
       (array_agg(task.version_id))[1] AS version_id, (array_agg(task.id ORDER BY task.id))[:10] AS ids
FROM task_assignment AS a
JOIN task ON task.tenant_id = a.tenant_id AND task.id = a.task_id
CROSS JOIN LATERAL jsonb_array_elements(task.limits -> 'asks') AS ask
WHERE a.task_id >= $1::uuid AND ask ->> 1 <> 'CANCEL_IN_PROGRESS'
  AND NOT EXISTS (
    SELECT 1 FROM task_result AS r WHERE r.tenant_id = a.tenant_id AND r.task_id = a.task_id AND r.attempt = a.attempt
  )
GROUP BY a.tenant_id, ask ->> 0, ask ->> 2
LIMIT $2::integer
