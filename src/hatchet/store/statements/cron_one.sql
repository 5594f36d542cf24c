SELECT cron.id, cron.tenant_id, cron.workflow_id, workflow.name AS workflow, newest.id AS version_id, cron.name,
       cron.expression, cron.time_zone, cron.method, cron.input, cron.additional_metadata::text AS additional_metadata,
       cron.priority, cron.is_enabled, extract(epoch FROM cron.created_at)::float8 AS created_at,
       extract(epoch FROM cron.updated_at)::float8 AS updated_at
FROM cron_trigger AS cron
JOIN workflow ON workflow.id = cron.workflow_id
CROSS JOIN LATERAL (
    SELECT id FROM workflow_version WHERE workflow_id = workflow.id ORDER BY version_order DESC LIMIT 1
) AS newest
WHERE cron.tenant_id = $1::uuid AND cron.id = $2::uuid
