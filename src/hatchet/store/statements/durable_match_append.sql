-- Events that met conditions of waits that go on; the first one counts.
INSERT INTO durable_match (tenant_id, task_id, branch, node, condition, event_id, matched_at, data)
SELECT row.tenant_id, row.task_id, row.branch, row.node, row.condition, row.event_id, to_timestamp(row.matched_at),
       row.data
FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::uuid[], $7::float8[], $8::bytea[])
  AS row (tenant_id, task_id, branch, node, condition, event_id, matched_at, data)
ON CONFLICT DO NOTHING
