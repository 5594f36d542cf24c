-- Runs of the workflow that were replayed or evicted and may be open, whatever their age.
SELECT reopened.id
FROM reopened
CROSS JOIN LATERAL (
    SELECT task.version_id FROM task WHERE task.tenant_id = $1::uuid AND task.id = reopened.id AND task.run_id IS NULL
    UNION ALL
    SELECT run.version_id FROM run WHERE run.tenant_id = $1::uuid AND run.id = reopened.id
    LIMIT 1
) AS owner
JOIN workflow_version AS version ON version.id = owner.version_id
WHERE reopened.tenant_id = $1::uuid AND version.workflow_id = $2::uuid
ORDER BY reopened.id
