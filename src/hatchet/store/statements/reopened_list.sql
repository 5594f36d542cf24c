-- What was replayed or evicted and may be open, in the order of its ids, a page at a time.
SELECT id, extract(epoch FROM reopened_at)::float8 AS reopened_at FROM reopened
WHERE tenant_id = $1::uuid AND id > $2::uuid
ORDER BY id
LIMIT $3::integer
