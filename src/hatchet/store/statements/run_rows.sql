-- The subqueries cannot become joins: one index look-up a run, whatever the statistics say.
SELECT run.id, run.version_id, run.priority, run.desired_labels::text AS labels,
       run.limits::text AS limits, run.desired_worker_id,
       extract(epoch FROM run.inserted_at)::float8 AS inserted_at,
       (SELECT true FROM run_result AS r WHERE r.tenant_id = $1::uuid AND r.run_id = run.id LIMIT 1) IS NOT NULL AS has_end,
       (SELECT extract(epoch FROM r.reopened_at)::float8 FROM reopened AS r
        WHERE r.tenant_id = $1::uuid AND r.id = run.id LIMIT 1) AS reopened_at
FROM run
WHERE run.tenant_id = $1::uuid AND run.id = ANY($2::uuid[])
