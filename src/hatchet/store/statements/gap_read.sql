SELECT action, extract(epoch FROM since)::float8 AS since, extract(epoch FROM until)::float8 AS until
FROM action_gap
WHERE tenant_id = $1::uuid AND action = ANY ($2::text[]) AND (until IS NULL OR until >= to_timestamp($3::float8))
ORDER BY since
