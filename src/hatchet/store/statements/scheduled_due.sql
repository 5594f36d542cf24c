-- The scheduled runs that are due at $1, the oldest first, at most $2, none of the tenants $3.
SELECT due.id, due.tenant_id, due.workflow_id, due.input, due.priority,
       due.additional_metadata::text AS additional_metadata,
       due.parent_run_id, due.parent_task_id, due.child_index, due.child_key,
       workflow.name AS workflow,
       workflow.paused_at IS NOT NULL AND workflow.paused_scheduled = 'DROP' AS is_dropped
FROM (
    SELECT * FROM scheduled_run
    WHERE triggered_at IS NULL AND trigger_at <= to_timestamp($1::float8) AND tenant_id <> ALL($3::uuid[])
    ORDER BY trigger_at, id
    LIMIT $2::bigint
) AS due
JOIN workflow ON workflow.id = due.workflow_id
ORDER BY due.trigger_at, due.id
