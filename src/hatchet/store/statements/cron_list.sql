-- Null for all: $2 workflow, $3 its name, $4 the cron's name. $5 and $6: pairs of its metadata. $7: what to order by, $8:
-- descending.
SELECT cron.id, cron.tenant_id, cron.workflow_id, workflow.name AS workflow, newest.id AS version_id, cron.name,
       cron.expression, cron.time_zone, cron.method, cron.input, cron.additional_metadata::text AS additional_metadata,
       cron.priority, cron.is_enabled, extract(epoch FROM cron.created_at)::float8 AS created_at,
       extract(epoch FROM cron.updated_at)::float8 AS updated_at,
       count(*) OVER () AS total
FROM cron_trigger AS cron
JOIN workflow ON workflow.id = cron.workflow_id
CROSS JOIN LATERAL (
    SELECT id FROM workflow_version WHERE workflow_id = workflow.id ORDER BY version_order DESC LIMIT 1
) AS newest
WHERE cron.tenant_id = $1::uuid
  AND ($2::uuid IS NULL OR cron.workflow_id = $2)
  AND ($3::text IS NULL OR workflow.name = $3)
  AND ($4::text IS NULL OR cron.name = $4)
  AND NOT EXISTS (
      SELECT FROM unnest($5::text[], $6::text[]) AS pair (key, value)
      WHERE cron.additional_metadata ->> pair.key IS DISTINCT FROM pair.value
  )
ORDER BY CASE WHEN $7::text = 'name' AND NOT $8::boolean THEN cron.name END,
         CASE WHEN $7 = 'name' AND $8 THEN cron.name END DESC,
         CASE WHEN NOT $8 THEN cron.created_at END,
         CASE WHEN $8 THEN cron.created_at END DESC,
         cron.id
OFFSET $9::bigint
LIMIT $10::bigint
