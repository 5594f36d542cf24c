-- The first result of an entry wins; only those that were written come back.
INSERT INTO durable_result (tenant_id, task_id, branch, node, satisfied_at, payload, is_failure, error)
SELECT row.tenant_id, row.task_id, row.branch, row.node, to_timestamp(row.satisfied_at), row.payload, row.is_failure,
       row.error
FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::float8[], $6::bytea[], $7::boolean[], $8::text[])
  AS row (tenant_id, task_id, branch, node, satisfied_at, payload, is_failure, error)
ON CONFLICT DO NOTHING
RETURNING task_id, branch, node
