SELECT m.task_id, m.attempt, m.condition, extract(epoch FROM m.matched_at)::float8 AS matched_at, m.data
FROM task_match AS m
WHERE m.tenant_id = $1::uuid AND m.task_id = ANY($2::uuid[])
