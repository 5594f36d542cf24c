-- Who holds these keys now; is_status: only until that run has ended.
SELECT claim.tenant_id, claim.key, claim.run_id, claim.is_status
FROM idempotency_claim AS claim
JOIN unnest($1::uuid[], $2::text[]) AS row (tenant_id, key) ON claim.tenant_id = row.tenant_id AND claim.key = row.key
WHERE claim.expires_at > to_timestamp($3::float8)
