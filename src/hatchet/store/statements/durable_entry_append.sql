-- New entries. Nothing is written for an invocation whose attempt has ended, nor where the node is taken: what was
-- written comes back.
INSERT INTO durable_entry (tenant_id, task_id, branch, node, kind, digest, invocation, subject, label, child_name,
                           run_id, is_single, created_at)
SELECT row.tenant_id, row.task_id, row.branch, row.node, row.kind, row.digest, row.invocation, row.subject, row.label,
       row.child_name, row.run_id, row.is_single, to_timestamp(row.created_at)
FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::integer[], $5::text[], $6::bytea[], $7::integer[], $8::text[],
            $9::text[], $10::text[], $11::uuid[], $12::boolean[], $13::float8[])
  AS row (tenant_id, task_id, branch, node, kind, digest, invocation, subject, label, child_name, run_id, is_single,
          created_at)
WHERE (
    SELECT true FROM task_result AS result
    WHERE result.tenant_id = row.tenant_id AND result.task_id = row.task_id AND result.attempt = row.invocation - 1
    LIMIT 1
) IS NULL
ON CONFLICT DO NOTHING
RETURNING task_id, branch, node
