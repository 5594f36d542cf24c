-- Runs of which no end is written, in their order, a page at a time.
SELECT run.id
FROM run
WHERE run.tenant_id = $1::uuid AND run.id > $2::uuid
  AND NOT EXISTS (SELECT 1 FROM run_result AS result WHERE result.tenant_id = $1::uuid AND result.run_id = run.id)
ORDER BY run.id
LIMIT $3::integer
