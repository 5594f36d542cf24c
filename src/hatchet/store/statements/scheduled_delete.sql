-- Those that were not started and not declared in code; their ids.
DELETE FROM scheduled_run
WHERE tenant_id = $1::uuid AND id = ANY($2::uuid[]) AND triggered_at IS NULL AND method = 'API'
RETURNING id
