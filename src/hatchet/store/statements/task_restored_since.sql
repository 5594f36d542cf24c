-- The poll behind the word to the owner: what was restored of late.
SELECT task_id FROM task_restore
WHERE tenant_id = $1::uuid AND restored_at >= to_timestamp($2::float8)
