SELECT id FROM task WHERE tenant_id = $1::uuid AND id = ANY($2::uuid[])
