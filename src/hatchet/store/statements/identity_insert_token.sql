-- Only for a tenant that exists: touches no row otherwise.
INSERT INTO api_token (id, tenant_id, name, created_at, expires_at)
SELECT $1::uuid, t.id, $3::text, to_timestamp($4::float8), to_timestamp($5::float8)
FROM tenant t
WHERE t.id = $2::uuid
