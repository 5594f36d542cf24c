-- The first run for (parent task, key) keeps the key.
INSERT INTO task_child (tenant_id, parent_task_id, child_key, child_id)
SELECT row.tenant_id, row.parent_task_id, row.child_key, row.child_id
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS row (tenant_id, parent_task_id, child_key, child_id)
ON CONFLICT DO NOTHING
