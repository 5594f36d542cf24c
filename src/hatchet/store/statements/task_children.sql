-- The runs that the named tasks have spawned, with their parents, the oldest first and at most $3; the children of durable
-- tasks are in their logs only.
SELECT c.parent_task_id AS parent_id, c.child_id
FROM task_child AS c
WHERE c.tenant_id = $1::uuid AND c.parent_task_id = ANY($2::uuid[])
UNION
SELECT entry.task_id, entry.run_id
FROM durable_entry AS entry
WHERE entry.tenant_id = $1::uuid AND entry.task_id = ANY($2::uuid[]) AND entry.run_id IS NOT NULL
ORDER BY child_id, parent_id
LIMIT $3::integer
