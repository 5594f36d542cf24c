UPDATE lease SET events_until = to_timestamp($3::float8)
WHERE name = $1::text AND epoch = $2::bigint AND (events_until IS NULL OR events_until < to_timestamp($3::float8))
