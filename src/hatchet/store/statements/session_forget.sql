-- Sessions that were over at the time $1; a part of them at most, so that nobody who signs in waits for long.
DELETE FROM user_session
WHERE id IN (SELECT id FROM user_session WHERE expires_at <= to_timestamp($1::float8) ORDER BY expires_at LIMIT 100)
