-- The results of the named entries, those that have one.
SELECT r.task_id, r.branch, r.node, extract(epoch FROM r.satisfied_at)::float8 AS satisfied_at, r.payload, r.is_failure,
       r.error
FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[]) AS asked (tenant_id, task_id, branch, node)
CROSS JOIN LATERAL (
    SELECT * FROM durable_result AS result
    WHERE result.tenant_id = asked.tenant_id AND result.task_id = asked.task_id
      AND result.branch = asked.branch AND result.node = asked.node
) AS r
