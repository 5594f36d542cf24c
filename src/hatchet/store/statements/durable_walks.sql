-- How far one invocation of a task has walked.
SELECT node FROM durable_walk
WHERE tenant_id = $1::uuid AND task_id = $2::uuid AND invocation = $3::integer
