INSERT INTO user_session (id, user_id, created_at, expires_at)
VALUES ($1::bytea, $2::uuid, to_timestamp($3::float8), to_timestamp($4::float8))
