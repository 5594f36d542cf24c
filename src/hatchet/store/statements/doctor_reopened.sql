-- What is listed as open again since before $1.
SELECT tenant_id, id, extract(epoch FROM reopened_at)::float8 AS at
FROM reopened
WHERE reopened_at < to_timestamp($1::float8)
ORDER BY id
LIMIT $2::integer
