-- Enabled crons without a next instant, or with one before $1; disabled ones that have one.
SELECT id, tenant_id, name, expression, time_zone, is_enabled, extract(epoch FROM next_at)::float8 AS next_at
FROM cron_trigger
WHERE CASE WHEN is_enabled THEN next_at IS NULL OR next_at < to_timestamp($1::float8) ELSE next_at IS NOT NULL END
ORDER BY id
LIMIT $2::integer
