-- The definition with which a version was registered.
SELECT definition::text AS definition FROM workflow_version WHERE tenant_id = $1::uuid AND id = $2::uuid
