-- Facts about tasks and runs that do not exist. $1: from this id on.
SELECT 'task_assignment' AS name, fact.tenant_id, fact.task_id AS id FROM task_assignment AS fact
WHERE fact.task_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = fact.tenant_id AND task.id = fact.task_id)
UNION ALL
SELECT 'task_start' AS name, fact.tenant_id, fact.task_id AS id FROM task_start AS fact
WHERE fact.task_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = fact.tenant_id AND task.id = fact.task_id)
UNION ALL
SELECT 'task_result' AS name, fact.tenant_id, fact.task_id AS id FROM task_result AS fact
WHERE fact.task_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = fact.tenant_id AND task.id = fact.task_id)
UNION ALL
SELECT 'task_note' AS name, fact.tenant_id, fact.task_id AS id FROM task_note AS fact
WHERE fact.task_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = fact.tenant_id AND task.id = fact.task_id)
UNION ALL
SELECT 'task_replay' AS name, fact.tenant_id, fact.task_id AS id FROM task_replay AS fact
WHERE fact.task_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = fact.tenant_id AND task.id = fact.task_id)
UNION ALL
SELECT 'task_restore' AS name, fact.tenant_id, fact.task_id AS id FROM task_restore AS fact
WHERE fact.task_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = fact.tenant_id AND task.id = fact.task_id)
UNION ALL
SELECT 'task_match' AS name, fact.tenant_id, fact.task_id AS id FROM task_match AS fact
WHERE fact.task_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = fact.tenant_id AND task.id = fact.task_id)
UNION ALL
SELECT 'run_result', fact.tenant_id, fact.run_id FROM run_result AS fact
WHERE fact.run_id >= $1::uuid
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.tenant_id = fact.tenant_id AND run.id = fact.run_id)
LIMIT $2::integer
