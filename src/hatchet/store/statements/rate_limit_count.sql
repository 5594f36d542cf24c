SELECT count(*) AS total
FROM rate_limit
WHERE tenant_id = $1::uuid AND limit_value IS NOT NULL
  AND ($2::text IS NULL OR position(lower($2) IN lower(key)) > 0)
