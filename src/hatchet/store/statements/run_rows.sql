SELECT run.id, run.version_id, run.priority, run.desired_labels::text AS labels,
       extract(epoch FROM run.inserted_at)::float8 AS inserted_at, result.run_id IS NOT NULL AS has_end,
       EXISTS (SELECT 1 FROM reopened WHERE reopened.tenant_id = $1::uuid AND reopened.id = run.id) AS is_reopened
FROM run
LEFT JOIN run_result AS result ON result.tenant_id = $1::uuid AND result.run_id = run.id
WHERE run.tenant_id = $1::uuid AND run.id = ANY($2::uuid[])
