DELETE FROM worker WHERE last_heartbeat_at < to_timestamp($1::float8)
