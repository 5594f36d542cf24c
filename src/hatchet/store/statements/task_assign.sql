-- $1 lease, $2 epoch: an owner whose epoch is not the newest assigns nothing. An attempt that already has a result
-- (cancelled meanwhile) is not assigned either: a subquery that cannot become a join, so that it is one index look-up
-- a row whatever the statistics say.
WITH fence AS (
    SELECT 1 FROM lease WHERE name = $1::text AND epoch = $2::bigint FOR SHARE
)
INSERT INTO task_assignment (tenant_id, task_id, attempt, worker_id, app_retries, internal_retries, evictions, assigned_at,
                             timeout_at)
SELECT $3::uuid, row.task_id, row.attempt, row.worker_id, row.app_retries, row.internal_retries, row.evictions,
       to_timestamp($4::float8), to_timestamp(row.timeout_at)
FROM fence, unnest($5::uuid[], $6::integer[], $7::uuid[], $8::integer[], $9::integer[], $10::float8[],
                   $11::integer[])
  AS row (task_id, attempt, worker_id, app_retries, internal_retries, timeout_at, evictions)
WHERE (
    SELECT true FROM task_result AS result
    WHERE result.tenant_id = $3::uuid AND result.task_id = row.task_id AND result.attempt = row.attempt
    LIMIT 1
) IS NULL
ON CONFLICT DO NOTHING
RETURNING task_id
