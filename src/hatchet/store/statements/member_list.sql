-- The memberships of a person, the oldest first.
SELECT m.id, m.role, m.can_view_payloads, extract(epoch FROM m.created_at)::float8 AS created_at,
       t.id AS tenant_id, t.name, t.slug, extract(epoch FROM t.created_at)::float8 AS tenant_created_at
FROM tenant_member m
JOIN tenant t ON t.id = m.tenant_id
WHERE m.user_id = $1::uuid
ORDER BY m.created_at, m.id
