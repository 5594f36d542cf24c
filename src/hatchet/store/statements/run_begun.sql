-- Which of the runs have begun: a task of theirs was given to a worker, or has ended (behaviour-core C-6.10). $3 and $4:
-- between them lie the ids of all their tasks. Inside of CASE the named runs stay a hash table, and the facts are looked
-- up for their tasks only.
SELECT DISTINCT task.run_id
FROM task
WHERE task.tenant_id = $1::uuid AND task.id BETWEEN $3::uuid AND $4::uuid
  AND CASE WHEN task.run_id IN (SELECT unnest($2::uuid[])) THEN coalesce(
    (SELECT true FROM task_assignment AS a WHERE a.tenant_id = $1::uuid AND a.task_id = task.id LIMIT 1),
    (SELECT true FROM task_result AS r WHERE r.tenant_id = $1::uuid AND r.task_id = task.id LIMIT 1)
  ) END
