-- What the owner has taken stays, unless the key had no limit before. Never older than what a task defined: the clocks of
-- two instances differ a little, and the one who asks for it must not lose to a task that was there before.
INSERT INTO rate_limit (tenant_id, key, limit_value, time_window, updated_at)
VALUES ($1::uuid, $2::text, $3::bigint, $4::text, to_timestamp($5::float8))
ON CONFLICT (tenant_id, key) DO UPDATE SET
    limit_value = excluded.limit_value,
    time_window = excluded.time_window,
    units_left = CASE WHEN rate_limit.limit_value IS NOT NULL THEN rate_limit.units_left END,
    refilled_at = CASE WHEN rate_limit.limit_value IS NOT NULL THEN rate_limit.refilled_at END,
    is_dynamic = false,
    updated_at = greatest(rate_limit.updated_at, excluded.updated_at)
