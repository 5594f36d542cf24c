-- The lines of one task, filtered and in order; null filters let everything pass.
SELECT line.id, line.attempt, line.level, line.message, line.metadata::text AS metadata,
       extract(epoch FROM line.created_at)::float8 AS created_at
FROM task_log AS line
WHERE line.tenant_id = $1::uuid AND line.task_id = $2::uuid
  AND ($3::text IS NULL OR strpos(lower(line.message), lower($3)) > 0)
  AND ($4::text[] IS NULL OR line.level = ANY($4))
  AND ($5::float8 IS NULL OR line.created_at > to_timestamp($5))
  AND ($6::float8 IS NULL OR line.created_at < to_timestamp($6))
  AND ($7::integer IS NULL OR line.attempt = $7)
ORDER BY CASE WHEN $8::boolean THEN line.created_at END DESC, CASE WHEN $8 THEN line.id END DESC,
         line.created_at, line.id
LIMIT $9::integer OFFSET $10::integer
