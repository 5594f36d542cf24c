DELETE FROM scheduled_run WHERE triggered_at < to_timestamp($1::float8)
