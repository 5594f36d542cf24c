-- The newest version of each named workflow.
SELECT v.id, v.tenant_id, v.workflow_id, v.version_order, v.checksum, v.definition
FROM workflow AS w
CROSS JOIN LATERAL (
    SELECT *
    FROM workflow_version AS newest
    WHERE newest.workflow_id = w.id
    ORDER BY newest.version_order DESC
    LIMIT 1
) AS v
WHERE w.tenant_id = $1 AND w.name = ANY ($2::text[])
