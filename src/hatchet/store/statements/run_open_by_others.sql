-- The poll behind the wake-ups between instances: recent runs that another instance accepted and that have not ended.
SELECT run.id
FROM run
WHERE run.tenant_id = $1::uuid AND run.id >= $2::uuid AND run.creator <> $3::uuid
  AND NOT EXISTS (SELECT 1 FROM run_result AS result WHERE result.tenant_id = $1::uuid AND result.run_id = run.id)
ORDER BY run.id
