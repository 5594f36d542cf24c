SELECT tenant_id
FROM worker
WHERE id = $1::uuid
