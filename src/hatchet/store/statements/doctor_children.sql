-- Keys of spawning tasks that are kept by runs which do not exist, though their day is not dropped yet ($2: the oldest id
-- that is kept). $1: from this parent on.
SELECT child.tenant_id, child.parent_task_id AS id, child.child_key, child.child_id
FROM task_child AS child
WHERE child.parent_task_id >= $1::uuid AND child.child_id >= $2::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = child.tenant_id AND task.id = child.child_id)
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.tenant_id = child.tenant_id AND run.id = child.child_id)
LIMIT $3::integer
