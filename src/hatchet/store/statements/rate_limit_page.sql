-- All rows of a tenant in pages: $2 the last key of the page before, or the empty text, which is no key.
SELECT key, limit_value, time_window, units_left,
       extract(epoch FROM paused_until)::float8 AS paused_until,
       extract(epoch FROM refilled_at)::float8 AS refilled_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
FROM rate_limit
WHERE tenant_id = $1::uuid AND key > $2::text
ORDER BY key
LIMIT $3::bigint
