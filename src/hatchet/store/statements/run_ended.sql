SELECT result.run_id FROM run_result AS result
WHERE result.tenant_id = $1::uuid AND result.run_id = ANY($2::uuid[])
  AND NOT EXISTS (SELECT 1 FROM reopened WHERE reopened.tenant_id = $1::uuid AND reopened.id = result.run_id)
