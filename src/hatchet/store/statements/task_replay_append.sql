-- The first replay that opens an attempt wins; only those that were written come back.
INSERT INTO task_replay (tenant_id, task_id, attempt, replayed_at, is_queued)
SELECT $1::uuid, row.task_id, row.attempt, to_timestamp($2::float8), row.is_queued
FROM unnest($3::uuid[], $4::integer[], $5::boolean[]) AS row (task_id, attempt, is_queued)
ON CONFLICT DO NOTHING
RETURNING task_id, attempt
