-- A scheduled run of the tenant that was not started yet, in the columns of scheduled_due; a person's wish is not dropped.
SELECT due.id, due.tenant_id, due.workflow_id, due.input, due.priority,
       due.additional_metadata::text AS additional_metadata,
       due.parent_run_id, due.parent_task_id, due.child_index, due.child_key,
       workflow.name AS workflow, false AS is_dropped
FROM scheduled_run AS due
JOIN workflow ON workflow.id = due.workflow_id
WHERE due.tenant_id = $1::uuid AND due.id = $2::uuid AND due.triggered_at IS NULL
