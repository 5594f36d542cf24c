-- Workflows whose newest version has a task with one of these actions.
SELECT w.id, w.name
FROM workflow AS w
CROSS JOIN LATERAL (
    SELECT v.definition
    FROM workflow_version AS v
    WHERE v.workflow_id = w.id
    ORDER BY v.version_order DESC
    LIMIT 1
) AS newest
WHERE w.tenant_id = $1::uuid
  AND EXISTS (
      SELECT 1 FROM jsonb_array_elements(newest.definition -> 'tasks') AS task WHERE task ->> 'action' = ANY ($2::text[])
  )
ORDER BY w.name
