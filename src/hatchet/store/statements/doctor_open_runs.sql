-- Runs of which no end is written, the oldest first, a page at a time: after $1. With the pause of their workflow.
SELECT run.tenant_id, run.id, run.version_id, v.id IS NULL AS is_unknown, workflow.paused_at IS NOT NULL AS is_paused,
       extract(epoch FROM workflow.resumed_at)::float8 AS resumed_at
FROM run
LEFT JOIN workflow_version AS v ON v.id = run.version_id
LEFT JOIN workflow ON workflow.id = v.workflow_id
WHERE run.id > $1::uuid
  AND NOT EXISTS (SELECT 1 FROM run_result AS r WHERE r.tenant_id = run.tenant_id AND r.run_id = run.id)
ORDER BY run.id
LIMIT $2::integer
