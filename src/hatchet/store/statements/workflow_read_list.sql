-- The tenant's workflows with their newest version: $2 NULL, or a text that the name contains; the one of exactly that
-- name comes first. $3 to skip, $4 at most.
SELECT w.id, w.tenant_id, w.name, w.paused_crons, w.paused_scheduled, w.paused_at IS NOT NULL AS is_paused,
       extract(epoch FROM w.created_at)::float8 AS created_at,
       newest.id AS version_id, newest.version_order,
       newest.definition ->> 'version' AS version, newest.definition ->> 'description' AS description,
       extract(epoch FROM newest.created_at)::float8 AS version_created_at
FROM workflow AS w
CROSS JOIN LATERAL (
    SELECT v.id, v.version_order, v.definition, v.created_at
    FROM workflow_version AS v
    WHERE v.workflow_id = w.id
    ORDER BY v.version_order DESC
    LIMIT 1
) AS newest
WHERE w.tenant_id = $1::uuid AND ($2::text IS NULL OR position(lower($2) IN lower(w.name)) > 0)
ORDER BY w.name IS NOT DISTINCT FROM $2::text DESC, w.created_at DESC, w.id
OFFSET $3::bigint
LIMIT $4::bigint
