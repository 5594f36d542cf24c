-- Waits and child runs of the named tasks that have no result, whatever their branch.
SELECT entry.task_id, entry.branch, entry.node, entry.kind, entry.digest, entry.invocation, entry.subject, entry.label,
       entry.child_name, entry.run_id, entry.is_single, extract(epoch FROM entry.created_at)::float8 AS created_at
FROM durable_entry AS entry
WHERE entry.tenant_id = $1::uuid AND entry.task_id = ANY($2::uuid[]) AND entry.kind <> 'MEMO'
  AND NOT EXISTS (
    SELECT 1 FROM durable_result AS r
    WHERE r.tenant_id = $1::uuid AND r.task_id = entry.task_id AND r.branch = entry.branch AND r.node = entry.node
  )
ORDER BY entry.task_id, entry.branch, entry.node
