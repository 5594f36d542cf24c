SELECT task_id, branch, node, condition, extract(epoch FROM matched_at)::float8 AS matched_at, data FROM durable_match
WHERE tenant_id = $1::uuid AND task_id = ANY($2::uuid[])
