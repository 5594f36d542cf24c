SELECT key, limit_value, time_window, units_left,
       extract(epoch FROM paused_until)::float8 AS paused_until,
       extract(epoch FROM refilled_at)::float8 AS refilled_at,
       extract(epoch FROM updated_at)::float8 AS updated_at
FROM rate_limit
WHERE tenant_id = $1::uuid AND key = ANY ($2::text[])
