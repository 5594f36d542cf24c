-- Events that met conditions; the first one counts. Nothing is written unless the owner's epoch is the newest.
WITH fence AS (
    SELECT 1 FROM lease WHERE name = $8::text AND epoch = $9::bigint FOR SHARE
)
INSERT INTO task_match (tenant_id, task_id, attempt, condition, event_id, matched_at, data)
SELECT $1::uuid, row.task_id, row.attempt, row.condition, row.event_id, to_timestamp(row.matched_at), row.data
FROM fence, unnest($2::uuid[], $3::integer[], $4::integer[], $5::uuid[], $6::float8[], $7::bytea[])
  AS row (task_id, attempt, condition, event_id, matched_at, data)
ON CONFLICT DO NOTHING
RETURNING task_id, attempt, condition
