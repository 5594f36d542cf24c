DELETE FROM instance WHERE heartbeat_at < to_timestamp($1::float8)
