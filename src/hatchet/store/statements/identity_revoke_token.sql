UPDATE api_token
SET revoked_at = coalesce(revoked_at, to_timestamp($3::float8))
WHERE id = $2::uuid AND tenant_id = $1::uuid
