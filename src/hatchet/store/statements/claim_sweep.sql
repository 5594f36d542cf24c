DELETE FROM idempotency_claim WHERE expires_at <= to_timestamp($1::float8)
