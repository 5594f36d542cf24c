-- What can start nothing: its workflow has no version.
SELECT entry.name, entry.tenant_id, entry.id, entry.workflow_id
FROM (
    SELECT 'cron' AS name, tenant_id, id, workflow_id FROM cron_trigger
    UNION ALL
    SELECT 'event filter', tenant_id, id, workflow_id FROM event_filter
    UNION ALL
    SELECT 'scheduled run', tenant_id, id, workflow_id FROM scheduled_run WHERE triggered_at IS NULL
) AS entry
WHERE NOT EXISTS (SELECT 1 FROM workflow_version AS v WHERE v.workflow_id = entry.workflow_id)
ORDER BY entry.id
LIMIT $1::integer
