-- How runs ended; a run that was replayed gets its new end. Nothing is written unless the owner's epoch is the newest.
WITH fence AS (
    SELECT 1 FROM lease WHERE name = $5::text AND epoch = $6::bigint FOR SHARE
)
INSERT INTO run_result (tenant_id, run_id, status, finished_at)
SELECT $1::uuid, row.run_id, row.status, to_timestamp(row.finished_at)
FROM fence, unnest($2::uuid[], $3::text[], $4::float8[]) AS row (run_id, status, finished_at)
ON CONFLICT (tenant_id, run_id) DO UPDATE SET status = excluded.status, finished_at = excluded.finished_at
