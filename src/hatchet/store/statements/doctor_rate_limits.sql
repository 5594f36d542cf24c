-- Units below zero, or above the limit in a window that began well after the limit was set ($1 seconds): one that was
-- lowered counts from its owner's next look on.
SELECT tenant_id, key, units_left, limit_value
FROM rate_limit
WHERE units_left < 0
   OR (units_left > limit_value AND refilled_at > updated_at + make_interval(secs => $1::float8))
ORDER BY tenant_id, key
LIMIT $2::integer
