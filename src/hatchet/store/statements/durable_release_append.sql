-- First hand-overs. Neither an entry nor a place in the order is given away twice; only those that were written come back.
INSERT INTO durable_release (tenant_id, task_id, branch, node, order_branch, satisfied_order, tip, invocation)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::integer[], $6::integer[], $7::integer[],
                     $8::integer[])
ON CONFLICT DO NOTHING
RETURNING task_id, branch, node
