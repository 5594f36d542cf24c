INSERT INTO tenant_member (tenant_id, user_id, role, created_at)
SELECT $1::uuid, u.id, 'OWNER', to_timestamp($3::float8)
FROM app_user u
WHERE u.email = $2::text
ON CONFLICT (tenant_id, user_id) DO NOTHING
