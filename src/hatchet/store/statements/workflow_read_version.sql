-- A version of a workflow: $3, or the newest one where that is null.
SELECT v.id, v.version_order, v.definition::text AS definition,
       extract(epoch FROM v.created_at)::float8 AS created_at
FROM workflow AS w
JOIN workflow_version AS v ON v.workflow_id = w.id
WHERE w.tenant_id = $1::uuid AND w.id = $2::uuid AND ($3::uuid IS NULL OR v.id = $3)
ORDER BY v.version_order DESC
LIMIT 1
