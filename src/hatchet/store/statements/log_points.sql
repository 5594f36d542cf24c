-- How many lines there are in each interval of $10 seconds, by level; an interval is told by its beginning. The filters
-- are those of log_page.
SELECT floor(extract(epoch FROM line.created_at)::float8 / $10::float8) * $10 AS begins_at, line.level, count(*) AS lines
FROM task_log AS line
WHERE line.tenant_id = $1::uuid
  AND line.created_at >= to_timestamp($2::float8)
  AND line.created_at < to_timestamp($3::float8)
  AND ($4::text IS NULL OR strpos(lower(line.message), lower($4)) > 0)
  AND ($5::text[] IS NULL OR line.level = ANY ($5))
  AND ($6::integer IS NULL OR line.attempt = $6)
  AND ($7::uuid[] IS NULL OR line.task_id = ANY ($7))
  AND ($8::uuid[] IS NULL AND $9::uuid[] IS NULL OR EXISTS (
      SELECT FROM task AS t
      WHERE t.tenant_id = $1::uuid AND t.id = line.task_id
        AND ($8 IS NULL OR t.version_id = ANY (ARRAY(
            SELECT version.id FROM workflow_version AS version
            WHERE version.tenant_id = $1::uuid AND version.workflow_id = ANY ($8)
        )))
        AND ($9 IS NULL OR t.step_id = ANY ($9))
  ))
GROUP BY begins_at, line.level
