-- Limits of dynamic keys whose window is long over: whoever needs one of them defines it again.
DELETE FROM rate_limit
WHERE is_dynamic AND refilled_at < to_timestamp($1::float8) AND coalesce(paused_until < to_timestamp($1::float8), true)
  AND (time_window IN ('SECOND', 'MINUTE', 'HOUR', 'DAY') OR refilled_at < to_timestamp($2::float8))
