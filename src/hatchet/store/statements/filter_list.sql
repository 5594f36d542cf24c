-- $2 workflows and $3 scopes: NULL for all of them. $4 to skip, $5 at most.
SELECT id, tenant_id, workflow_id, scope, expression, payload::text AS payload, is_declarative,
       extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM updated_at)::float8 AS updated_at
FROM event_filter
WHERE tenant_id = $1::uuid
  AND ($2::uuid[] IS NULL OR workflow_id = ANY ($2::uuid[]))
  AND ($3::text[] IS NULL OR scope = ANY ($3::text[]))
ORDER BY created_at, id
OFFSET $4::bigint
LIMIT $5::bigint
