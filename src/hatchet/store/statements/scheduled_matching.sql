-- The scheduled runs that a filter means and that were not started, after the id $7, at most $8. Null for all: $2
-- workflow, $3 parent run, $4 parent task. $5 and $6: pairs of its metadata.
SELECT id, method FROM scheduled_run AS entry
WHERE tenant_id = $1::uuid AND triggered_at IS NULL
  AND ($2::uuid IS NULL OR workflow_id = $2)
  AND ($3::uuid IS NULL OR parent_run_id = $3)
  AND ($4::uuid IS NULL OR parent_task_id = $4)
  AND NOT EXISTS (
      SELECT FROM unnest($5::text[], $6::text[]) AS pair (key, value)
      WHERE entry.additional_metadata ->> pair.key IS DISTINCT FROM pair.value
  )
  AND id > $7::uuid
ORDER BY id
LIMIT $8::bigint
