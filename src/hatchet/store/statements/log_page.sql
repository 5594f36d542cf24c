-- Log lines of a tenant, by their times, with the tasks that wrote them. Null for all: $2 since, $3 until (both exclusive),
-- $4 a part of the message, $5 levels, $6 attempt, $7 tasks, $8 workflows, $9 steps. $10: newest first. $11 at most.
SELECT line.task_id, line.id, line.attempt, line.level, line.message, line.metadata::text AS metadata,
       extract(epoch FROM line.created_at)::float8 AS created_at,
       task.version_id, task.step_id, extract(epoch FROM task.inserted_at)::float8 AS inserted_at
FROM task_log AS line
JOIN LATERAL (
    SELECT t.version_id, t.step_id, t.inserted_at FROM task AS t
    WHERE t.tenant_id = $1::uuid AND t.id = line.task_id LIMIT 1
) AS task ON true
WHERE line.tenant_id = $1::uuid
  AND ($2::float8 IS NULL OR line.created_at > to_timestamp($2))
  AND ($3::float8 IS NULL OR line.created_at < to_timestamp($3))
  AND ($4::text IS NULL OR strpos(lower(line.message), lower($4)) > 0)
  AND ($5::text[] IS NULL OR line.level = ANY ($5))
  AND ($6::integer IS NULL OR line.attempt = $6)
  AND ($7::uuid[] IS NULL OR line.task_id = ANY ($7))
  AND ($8::uuid[] IS NULL OR task.version_id = ANY (ARRAY(
      SELECT version.id FROM workflow_version AS version
      WHERE version.tenant_id = $1::uuid AND version.workflow_id = ANY ($8)
  )))
  AND ($9::uuid[] IS NULL OR task.step_id = ANY ($9))
ORDER BY CASE WHEN $10::boolean THEN line.created_at END DESC, CASE WHEN $10 THEN line.id END DESC,
         line.created_at, line.id
LIMIT $11::integer
