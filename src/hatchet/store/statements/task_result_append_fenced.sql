-- Decisions of an owner (timeouts, lost workers): nothing is written unless its epoch is the newest.
WITH fence AS (
    SELECT 1 FROM lease WHERE name = $13::text AND epoch = $14::bigint FOR SHARE
)
INSERT INTO task_result (tenant_id, task_id, attempt, outcome, output, error, started_at, finished_at, retry_at,
                         app_retries, internal_retries, evictions)
SELECT row.tenant_id, row.task_id, row.attempt, row.outcome, row.output, row.error, to_timestamp(row.started_at),
       to_timestamp(row.finished_at), to_timestamp(row.retry_at), row.app_retries, row.internal_retries, row.evictions
FROM fence, unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::bytea[], $6::text[], $7::float8[], $8::float8[],
            $9::float8[], $10::integer[], $11::integer[], $12::integer[])
  AS row (tenant_id, task_id, attempt, outcome, output, error, started_at, finished_at, retry_at,
          app_retries, internal_retries, evictions)
ON CONFLICT DO NOTHING
RETURNING task_id, attempt
