SELECT entry.id, entry.tenant_id, entry.workflow_id, workflow.name AS workflow, newest.id AS version_id, entry.method,
       entry.input, entry.additional_metadata::text AS additional_metadata, entry.priority, entry.run_id,
       extract(epoch FROM entry.trigger_at)::float8 AS trigger_at,
       extract(epoch FROM entry.triggered_at)::float8 AS triggered_at,
       extract(epoch FROM entry.created_at)::float8 AS created_at,
       extract(epoch FROM entry.updated_at)::float8 AS updated_at
FROM scheduled_run AS entry
JOIN workflow ON workflow.id = entry.workflow_id
CROSS JOIN LATERAL (
    SELECT id FROM workflow_version WHERE workflow_id = workflow.id ORDER BY version_order DESC LIMIT 1
) AS newest
WHERE entry.tenant_id = $1::uuid AND entry.id = ANY($2::uuid[])
