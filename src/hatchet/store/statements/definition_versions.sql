SELECT id, tenant_id, workflow_id, version_order, checksum, definition
FROM workflow_version
WHERE id = ANY ($1::uuid[])
