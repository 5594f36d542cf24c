SELECT task_id, branch, parent, first_node FROM durable_branch
WHERE tenant_id = $1::uuid AND task_id = ANY($2::uuid[])
