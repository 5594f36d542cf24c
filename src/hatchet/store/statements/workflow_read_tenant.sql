SELECT tenant_id FROM workflow WHERE id = $1::uuid
