-- Which run holds each key; read after the claim, so that a claim of another instance is seen.
SELECT row.child_id AS asked_id, held.child_id
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[]) AS row (tenant_id, parent_task_id, child_key, child_id)
JOIN task_child AS held ON held.tenant_id = row.tenant_id AND held.parent_task_id = row.parent_task_id
                       AND held.child_key = row.child_key
