-- Give keys back whose run is not created after all.
DELETE FROM task_child AS held
USING unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS row (tenant_id, parent_task_id, child_key, child_id)
WHERE held.tenant_id = row.tenant_id AND held.parent_task_id = row.parent_task_id
  AND held.child_key = row.child_key AND held.child_id = row.child_id
