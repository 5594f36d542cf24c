-- The workflows whose newest version is started by events.
SELECT w.id, w.name, newest.keys::text AS keys
FROM workflow AS w
CROSS JOIN LATERAL (
    SELECT v.definition -> 'event_triggers' AS keys
    FROM workflow_version AS v
    WHERE v.workflow_id = w.id
    ORDER BY v.version_order DESC
    LIMIT 1
) AS newest
WHERE w.tenant_id = $1::uuid AND newest.keys IS NOT NULL
ORDER BY w.created_at, w.id
