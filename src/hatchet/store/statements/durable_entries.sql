-- The logs of the named tasks, with what came of their entries. $3: whether payloads are wanted, too.
SELECT entry.task_id, entry.branch, entry.node, entry.kind, entry.digest, entry.invocation, entry.subject, entry.label,
       entry.child_name, entry.run_id, entry.is_single, extract(epoch FROM entry.created_at)::float8 AS created_at,
       extract(epoch FROM result.satisfied_at)::float8 AS satisfied_at,
       CASE WHEN $3::boolean THEN result.payload END AS payload,
       result.is_failure, CASE WHEN $3::boolean THEN result.error END AS error,
       release.order_branch, release.satisfied_order, release.tip, release.invocation AS released_by
FROM durable_entry AS entry
LEFT JOIN LATERAL (
    SELECT * FROM durable_result AS r
    WHERE r.tenant_id = $1::uuid AND r.task_id = entry.task_id AND r.branch = entry.branch AND r.node = entry.node
) AS result ON true
LEFT JOIN LATERAL (
    SELECT * FROM durable_release AS r
    WHERE r.tenant_id = $1::uuid AND r.task_id = entry.task_id AND r.branch = entry.branch AND r.node = entry.node
) AS release ON true
WHERE entry.tenant_id = $1::uuid AND entry.task_id = ANY($2::uuid[]) AND entry.branch > 0
ORDER BY entry.task_id, entry.branch, entry.node
