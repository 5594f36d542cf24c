DELETE FROM rate_limit WHERE tenant_id = $1::uuid AND key = ANY ($2::text[]) RETURNING key
