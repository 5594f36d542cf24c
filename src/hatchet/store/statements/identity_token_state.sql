SELECT t.tenant_id, extract(epoch FROM t.expires_at)::float8 AS expires_at, t.revoked_at IS NOT NULL AS revoked
FROM api_token t
WHERE t.id = $1::uuid
