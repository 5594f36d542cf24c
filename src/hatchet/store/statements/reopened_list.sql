SELECT id FROM reopened WHERE tenant_id = $1::uuid ORDER BY id
