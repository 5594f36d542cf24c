SELECT id, email, name, password_hash, email_verified, extract(epoch FROM created_at)::float8 AS created_at
FROM app_user
WHERE email = $1::text
