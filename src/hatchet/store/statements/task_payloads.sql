-- What the named tasks, which are runs of their own, were triggered with.
SELECT task.id, task.input, task.additional_metadata::text AS additional_metadata, task.parent_run_id, task.parent_task_id,
       task.child_index, task.child_key, task.filter_payload
FROM task
WHERE task.tenant_id = $1::uuid AND task.id = ANY($2::uuid[]) AND task.run_id IS NULL
