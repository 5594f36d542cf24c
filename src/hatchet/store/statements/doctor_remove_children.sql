-- Give keys back whose run does not exist.
DELETE FROM task_child AS child
USING unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS row (tenant_id, parent_task_id, child_key, child_id)
WHERE child.tenant_id = row.tenant_id AND child.parent_task_id = row.parent_task_id
  AND child.child_key = row.child_key AND child.child_id = row.child_id
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = child.tenant_id AND task.id = child.child_id)
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.tenant_id = child.tenant_id AND run.id = child.child_id)
