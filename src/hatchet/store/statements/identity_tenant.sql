SELECT id, name, slug, extract(epoch FROM created_at)::float8 AS created_at
FROM tenant
WHERE id = $1::uuid
