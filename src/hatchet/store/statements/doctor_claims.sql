SELECT tenant_id, run_id AS id, key, extract(epoch FROM expires_at)::float8 AS at
FROM idempotency_claim
WHERE expires_at < to_timestamp($1::float8)
ORDER BY expires_at
LIMIT $2::integer
