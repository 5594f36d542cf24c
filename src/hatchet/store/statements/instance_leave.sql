DELETE FROM instance WHERE id = $1::uuid OR heartbeat_at < to_timestamp($2::float8)
