-- Tasks that spawn runs: their run, and its metadata.
SELECT task.id, coalesce(task.run_id, task.id) AS run_id,
       coalesce(run.additional_metadata, task.additional_metadata)::text AS additional_metadata
FROM task
LEFT JOIN run ON run.tenant_id = $1::uuid AND run.id = task.run_id
WHERE task.tenant_id = $1::uuid AND task.id = ANY($2::uuid[])
