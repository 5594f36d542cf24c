-- What an owner ($1 lease, $2 epoch) has taken of its keys; nothing is written unless its epoch is the newest. Limit and
-- window come with a key that a task defined ($5, $6; NULL for the others) and give way to a later definition by others.
-- A key that has been deleted meanwhile stays so, unless a task defined it.
WITH fence AS (
    SELECT 1 FROM lease WHERE name = $1::text AND epoch = $2::bigint FOR SHARE
), states AS (
    INSERT INTO rate_limit (tenant_id, key, limit_value, time_window, units_left, refilled_at, updated_at, is_dynamic)
    SELECT $3::uuid, row.key, row.limit_value, row.time_window, row.units_left, to_timestamp(row.refilled_at),
           to_timestamp(row.updated_at), true
    FROM fence, unnest($4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::float8[], $9::float8[])
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
SELECT EXISTS (SELECT FROM fence) AS is_owner
