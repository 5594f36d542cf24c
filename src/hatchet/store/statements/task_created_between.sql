-- What another instance announced: the tasks it created from one id to another.
SELECT task.id, task.version_id, task.step_id, task.run_id, task.priority, task.desired_labels::text AS labels,
       task.limits::text AS limits, task.desired_worker_id,
       extract(epoch FROM task.inserted_at)::float8 AS ready_at
FROM task
WHERE task.tenant_id = $1::uuid AND task.run_id IS NULL AND task.id BETWEEN $2::uuid AND $3::uuid AND task.creator = $4::uuid
ORDER BY task.id
