INSERT INTO durable_walk (tenant_id, task_id, invocation, node)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[])
ON CONFLICT DO NOTHING
