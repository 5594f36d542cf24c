DELETE FROM action_gap WHERE until < to_timestamp($1::float8)
