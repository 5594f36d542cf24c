-- $2 NULL, or a text that the key contains; $3 now, for units that are back and that nobody has asked for yet, with the
-- tolerance of the owner; $4 what to order by: key, value or limitValue; $5 whether backwards. $6 to skip, $7 at most.
SELECT key, limit_value, time_window, value,
       extract(epoch FROM paused_until)::float8 AS paused_until,
       extract(epoch FROM coalesce(refilled_at, updated_at))::float8 AS refilled_at
FROM (
    SELECT *,
           CASE
               WHEN refilled_at IS NULL OR units_left IS NULL
                    OR to_timestamp($3::float8) + interval '10 milliseconds'
                       >= (refilled_at AT TIME ZONE 'UTC' + ('1 ' || time_window)::interval) AT TIME ZONE 'UTC'
               THEN limit_value
               ELSE least(units_left, limit_value)
           END AS value
    FROM rate_limit
    WHERE tenant_id = $1::uuid AND limit_value IS NOT NULL
      AND ($2::text IS NULL OR position(lower($2) IN lower(key)) > 0)
) AS found
ORDER BY CASE $4::text WHEN 'value' THEN value WHEN 'limitValue' THEN limit_value END
             * CASE WHEN $5::boolean THEN -1 ELSE 1 END,
         CASE WHEN $5::boolean AND $4::text = 'key' THEN key END DESC,
         key
OFFSET $6::bigint
LIMIT $7::bigint
