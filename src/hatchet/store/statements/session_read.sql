-- Who has session $1 at the time $2, and their membership in tenant $3 (NULL: none is asked for).
SELECT u.id, u.email, u.name, u.password_hash, u.email_verified, extract(epoch FROM u.created_at)::float8 AS created_at,
       m.tenant_id, m.role, m.can_view_payloads
FROM user_session s
JOIN app_user u ON u.id = s.user_id
LEFT JOIN tenant_member m ON m.user_id = u.id AND m.tenant_id = $3::uuid
WHERE s.id = $1::bytea AND s.expires_at > to_timestamp($2::float8)
