-- The crons that are due at $1, the oldest first, at most $2, none of the tenants $3.
SELECT due.id, due.tenant_id, due.workflow_id, due.name, due.expression, due.time_zone, due.input, due.priority,
       due.additional_metadata::text AS additional_metadata, extract(epoch FROM due.next_at)::float8 AS next_at,
       workflow.name AS workflow, workflow.paused_at IS NOT NULL AND workflow.paused_crons = 'DROP' AS is_dropped
FROM (
    SELECT * FROM cron_trigger
    WHERE next_at <= to_timestamp($1::float8) AND tenant_id <> ALL($3::uuid[])
    ORDER BY next_at, id
    LIMIT $2::bigint
) AS due
JOIN workflow ON workflow.id = due.workflow_id
ORDER BY due.next_at, due.id
