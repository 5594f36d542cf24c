-- One workflow, a row for each of its $3 newest versions.
SELECT w.id, w.tenant_id, w.name, w.paused_crons, w.paused_scheduled, w.paused_at IS NOT NULL AS is_paused,
       extract(epoch FROM w.created_at)::float8 AS created_at,
       v.id AS version_id, v.version_order,
       v.definition ->> 'version' AS version, v.definition ->> 'description' AS description,
       extract(epoch FROM v.created_at)::float8 AS version_created_at
FROM workflow AS w
JOIN workflow_version AS v ON v.workflow_id = w.id
WHERE w.tenant_id = $1::uuid AND w.id = $2::uuid
ORDER BY v.version_order DESC
LIMIT $3::bigint
