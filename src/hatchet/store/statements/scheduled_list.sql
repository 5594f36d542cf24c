-- Null for all: $2 workflow, $3 parent run, $4 parent task, $7 whether it was started. $5 and $6: pairs of its metadata.
-- $8: what to order by, $9: descending.
SELECT entry.id, entry.tenant_id, entry.workflow_id, workflow.name AS workflow, newest.id AS version_id, entry.method,
       entry.input, entry.additional_metadata::text AS additional_metadata, entry.priority, entry.run_id,
       extract(epoch FROM entry.trigger_at)::float8 AS trigger_at,
       extract(epoch FROM entry.triggered_at)::float8 AS triggered_at,
       extract(epoch FROM entry.created_at)::float8 AS created_at,
       extract(epoch FROM entry.updated_at)::float8 AS updated_at,
       count(*) OVER () AS total
FROM scheduled_run AS entry
JOIN workflow ON workflow.id = entry.workflow_id
CROSS JOIN LATERAL (
    SELECT id FROM workflow_version WHERE workflow_id = workflow.id ORDER BY version_order DESC LIMIT 1
) AS newest
WHERE entry.tenant_id = $1::uuid
  AND ($2::uuid IS NULL OR entry.workflow_id = $2)
  AND ($3::uuid IS NULL OR entry.parent_run_id = $3)
  AND ($4::uuid IS NULL OR entry.parent_task_id = $4)
  AND NOT EXISTS (
      SELECT FROM unnest($5::text[], $6::text[]) AS pair (key, value)
      WHERE entry.additional_metadata ->> pair.key IS DISTINCT FROM pair.value
  )
  AND ($7::boolean IS NULL OR (entry.triggered_at IS NOT NULL) = $7)
ORDER BY CASE WHEN $8::text = 'triggerAt' AND NOT $9::boolean THEN entry.trigger_at END,
         CASE WHEN $8 = 'triggerAt' AND $9 THEN entry.trigger_at END DESC,
         CASE WHEN $8 = 'createdAt' AND NOT $9 THEN entry.created_at END,
         CASE WHEN $8 = 'createdAt' AND $9 THEN entry.created_at END DESC,
         entry.id
OFFSET $10::bigint
LIMIT $11::bigint
