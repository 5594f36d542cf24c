-- Which runs the ids belong to, be they of tasks or of runs (behaviour-core C-0.7). run_id null: a task of its own.
SELECT task.id, task.run_id, task.version_id, false AS is_run
FROM task WHERE task.tenant_id = $1::uuid AND task.id = ANY($2::uuid[])
UNION ALL
SELECT run.id, run.id, run.version_id, true
FROM run WHERE run.tenant_id = $1::uuid AND run.id = ANY($2::uuid[])
