-- The tasks of which an attempt was given to a worker in one of the batches.
SELECT task_id
FROM task_assignment
WHERE tenant_id = $1::uuid AND batch_id = ANY($2::uuid[])
