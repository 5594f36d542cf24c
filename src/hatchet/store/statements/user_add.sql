INSERT INTO app_user (id, email, name, password_hash, email_verified, created_at)
VALUES ($1::uuid, $2::text, $3::text, $4::text, $5::boolean, to_timestamp($6::float8))
ON CONFLICT (email) DO NOTHING
