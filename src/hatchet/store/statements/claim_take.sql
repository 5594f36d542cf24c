-- Claim keys that nobody holds, that have expired, or whose holder ($7) has ended; those that were taken come back.
INSERT INTO idempotency_claim AS claim (tenant_id, key, run_id, is_status, expires_at)
SELECT row.tenant_id, row.key, row.run_id, row.is_status, to_timestamp(row.expires_at)
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::boolean[], $5::float8[])
  AS row (tenant_id, key, run_id, is_status, expires_at)
ON CONFLICT (tenant_id, key) DO UPDATE
SET run_id = excluded.run_id, is_status = excluded.is_status, expires_at = excluded.expires_at
WHERE claim.expires_at <= to_timestamp($6::float8) OR claim.run_id = ANY($7::uuid[])
RETURNING tenant_id, key
