SELECT id, tenant_id, extract(epoch FROM trigger_at)::float8 AS at
FROM scheduled_run
WHERE triggered_at IS NULL AND trigger_at < to_timestamp($1::float8)
ORDER BY trigger_at, id
LIMIT $2::integer
