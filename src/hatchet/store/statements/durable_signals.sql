-- The waits of clients that know no log, by task and signal key, with their results.
SELECT asked.task_id, asked.name, entry.node, result.payload
FROM unnest($2::uuid[], $3::text[]) AS asked (task_id, name)
JOIN durable_entry AS entry
  ON entry.tenant_id = $1::uuid AND entry.task_id = asked.task_id AND entry.branch = 0
     AND entry.child_name = asked.name
LEFT JOIN durable_result AS result
  ON result.tenant_id = $1::uuid AND result.task_id = entry.task_id AND result.branch = 0 AND result.node = entry.node
