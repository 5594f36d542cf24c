-- As task_assign, with the batch of each attempt, and with the rate limits of which units were taken ($13 to $18, as in
-- rate_limit_states): both or neither, under one fence. Units of attempts that are refused are given back later.
WITH fence AS (
    SELECT 1 FROM lease WHERE name = $1::text AND epoch = $2::bigint FOR SHARE
), states AS (
    INSERT INTO rate_limit (tenant_id, key, limit_value, time_window, units_left, refilled_at, updated_at, is_dynamic)
    SELECT $3::uuid, row.key, row.limit_value, row.time_window, row.units_left, to_timestamp(row.refilled_at),
           to_timestamp(row.updated_at), true
    FROM fence, unnest($13::text[], $14::bigint[], $15::text[], $16::bigint[], $17::float8[], $18::float8[])
      AS row (key, limit_value, time_window, units_left, refilled_at, updated_at)
    WHERE row.limit_value IS NOT NULL OR (
        SELECT true FROM rate_limit AS known WHERE known.tenant_id = $3::uuid AND known.key = row.key LIMIT 1
    )
    ON CONFLICT (tenant_id, key) DO UPDATE SET
        limit_value = CASE WHEN rate_limit.limit_value IS NULL OR excluded.updated_at > rate_limit.updated_at
                           THEN coalesce(excluded.limit_value, rate_limit.limit_value)
                           ELSE rate_limit.limit_value END,
        time_window = CASE WHEN rate_limit.limit_value IS NULL OR excluded.updated_at > rate_limit.updated_at
                           THEN coalesce(excluded.time_window, rate_limit.time_window)
                           ELSE rate_limit.time_window END,
        updated_at = CASE WHEN excluded.limit_value IS NOT NULL
                          THEN greatest(excluded.updated_at, rate_limit.updated_at)
                          ELSE rate_limit.updated_at END,
        units_left = excluded.units_left,
        refilled_at = excluded.refilled_at
)
INSERT INTO task_assignment (tenant_id, task_id, attempt, worker_id, app_retries, internal_retries, evictions, assigned_at,
                             timeout_at, batch_id, batch_reason)
SELECT $3::uuid, row.task_id, row.attempt, row.worker_id, row.app_retries, row.internal_retries, row.evictions,
       to_timestamp($4::float8), to_timestamp(row.timeout_at), row.batch_id, row.batch_reason
FROM fence, unnest($5::uuid[], $6::integer[], $7::uuid[], $8::integer[], $9::integer[], $10::float8[], $11::uuid[],
                   $12::text[], $19::integer[])
  AS row (task_id, attempt, worker_id, app_retries, internal_retries, timeout_at, batch_id, batch_reason, evictions)
WHERE (
    SELECT true FROM task_result AS result
    WHERE result.tenant_id = $3::uuid AND result.task_id = row.task_id AND result.attempt = row.attempt
    LIMIT 1
) IS NULL
ON CONFLICT DO NOTHING
RETURNING task_id
