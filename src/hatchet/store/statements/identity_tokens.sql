-- The tokens of a tenant that were not revoked, the newest first.
SELECT id, name, extract(epoch FROM created_at)::float8 AS created_at, extract(epoch FROM expires_at)::float8 AS expires_at
FROM api_token
WHERE tenant_id = $1::uuid AND revoked_at IS NULL
ORDER BY created_at DESC, id DESC
