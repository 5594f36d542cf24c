-- The key may not exist yet: then the row has no limit, and waits for one. A pause is never shortened.
INSERT INTO rate_limit (tenant_id, key, paused_until, updated_at)
VALUES ($1::uuid, $2::text, to_timestamp($3::float8), to_timestamp($4::float8))
ON CONFLICT (tenant_id, key) DO UPDATE SET paused_until = greatest(rate_limit.paused_until, excluded.paused_until)
RETURNING extract(epoch FROM paused_until)::float8 AS paused_until
