INSERT INTO workflow (id, tenant_id, name, created_at)
VALUES ($1, $2, $3, to_timestamp($4))
ON CONFLICT (tenant_id, name) DO NOTHING
