-- A wait of a client that knows no log: the next node of branch 0, unless it is there already.
INSERT INTO durable_entry (tenant_id, task_id, branch, node, kind, digest, invocation, subject, child_name, is_single,
                           created_at)
SELECT $1::uuid, $2::uuid, 0, coalesce(max(node), 0) + 1, 'WAIT_FOR', $3::bytea, 0, $4::text, $5::text, false,
       to_timestamp($6::float8)
FROM durable_entry WHERE tenant_id = $1::uuid AND task_id = $2::uuid AND branch = 0
HAVING count(*) FILTER (WHERE child_name = $5::text) = 0
ON CONFLICT DO NOTHING
RETURNING node
