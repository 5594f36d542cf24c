-- Delete the facts about these tasks ($1, $2) and runs ($3, $4) that do not exist.
WITH gone AS MATERIALIZED (
    SELECT row.tenant_id, row.id FROM unnest($1::uuid[], $2::uuid[]) AS row (tenant_id, id)
    WHERE NOT EXISTS (SELECT 1 FROM task WHERE task.tenant_id = row.tenant_id AND task.id = row.id)
)
, of_assignment AS (
    DELETE FROM task_assignment AS fact USING gone WHERE fact.tenant_id = gone.tenant_id AND fact.task_id = gone.id
)
, of_start AS (
    DELETE FROM task_start AS fact USING gone WHERE fact.tenant_id = gone.tenant_id AND fact.task_id = gone.id
)
, of_result AS (
    DELETE FROM task_result AS fact USING gone WHERE fact.tenant_id = gone.tenant_id AND fact.task_id = gone.id
)
, of_note AS (
    DELETE FROM task_note AS fact USING gone WHERE fact.tenant_id = gone.tenant_id AND fact.task_id = gone.id
)
, of_replay AS (
    DELETE FROM task_replay AS fact USING gone WHERE fact.tenant_id = gone.tenant_id AND fact.task_id = gone.id
)
, of_restore AS (
    DELETE FROM task_restore AS fact USING gone WHERE fact.tenant_id = gone.tenant_id AND fact.task_id = gone.id
)
, of_match AS (
    DELETE FROM task_match AS fact USING gone WHERE fact.tenant_id = gone.tenant_id AND fact.task_id = gone.id
)
DELETE FROM run_result AS fact USING unnest($3::uuid[], $4::uuid[]) AS row (tenant_id, id)
WHERE fact.tenant_id = row.tenant_id AND fact.run_id = row.id
  AND NOT EXISTS (SELECT 1 FROM run WHERE run.tenant_id = row.tenant_id AND run.id = row.id)
