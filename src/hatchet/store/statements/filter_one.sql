SELECT id, tenant_id, workflow_id, scope, expression, payload::text AS payload, is_declarative,
       extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM updated_at)::float8 AS updated_at
FROM event_filter
WHERE tenant_id = $1::uuid AND id = $2::uuid
