SELECT id, workflow_id, scope, expression, payload::text AS payload
FROM event_filter
WHERE tenant_id = $1::uuid
ORDER BY created_at, id
