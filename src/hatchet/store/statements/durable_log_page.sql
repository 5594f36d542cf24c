-- A page of a task's log for people, by branch and node.
SELECT entry.branch, entry.node, entry.kind, entry.subject, entry.label, entry.run_id,
       extract(epoch FROM entry.created_at)::float8 AS created_at,
       extract(epoch FROM result.satisfied_at)::float8 AS satisfied_at
FROM durable_entry AS entry
LEFT JOIN durable_result AS result
  ON result.tenant_id = $1::uuid AND result.task_id = $2::uuid AND result.branch = entry.branch
     AND result.node = entry.node
WHERE entry.tenant_id = $1::uuid AND entry.task_id = $2::uuid AND entry.branch > 0
ORDER BY entry.branch, entry.node
OFFSET $3::bigint LIMIT $4::bigint
