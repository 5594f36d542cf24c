-- What the named runs were triggered with.
SELECT run.id, run.input, run.additional_metadata::text AS additional_metadata, run.parent_run_id, run.parent_task_id,
       run.child_index, run.child_key, run.filter_payload
FROM run
WHERE run.tenant_id = $1::uuid AND run.id = ANY($2::uuid[])
