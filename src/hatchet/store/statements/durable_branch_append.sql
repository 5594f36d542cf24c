INSERT INTO durable_branch (tenant_id, task_id, branch, parent, first_node, created_at)
VALUES ($1::uuid, $2::uuid, $3::integer, $4::integer, $5::integer, to_timestamp($6::float8))
ON CONFLICT DO NOTHING
