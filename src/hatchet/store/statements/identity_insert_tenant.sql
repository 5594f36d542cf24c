INSERT INTO tenant (id, name, slug, created_at)
VALUES ($1::uuid, $2::text, $3::text, to_timestamp($4::float8))
ON CONFLICT (id) DO NOTHING
