SELECT count(*) AS total
FROM workflow AS w
WHERE w.tenant_id = $1::uuid AND ($2::text IS NULL OR position(lower($2) IN lower(w.name)) > 0)
  AND EXISTS (SELECT 1 FROM workflow_version AS v WHERE v.workflow_id = w.id)
