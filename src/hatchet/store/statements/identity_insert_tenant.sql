-- Gives way to an equal id and to an equal slug: naming the id alone would let two simultaneous starts collide on the slug.
INSERT INTO tenant (id, name, slug, created_at)
VALUES ($1::uuid, $2::text, $3::text, to_timestamp($4::float8))
ON CONFLICT DO NOTHING
