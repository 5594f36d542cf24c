INSERT INTO workflow_version (id, tenant_id, workflow_id, version_order, checksum, definition, created_at)
VALUES ($1, $2, $3, $4, $5, $6::jsonb, to_timestamp($7))
