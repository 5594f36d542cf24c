-- Those of the scheduled runs that were not started and not moved behind $2, and that nobody else starts at the moment.
SELECT id FROM scheduled_run
WHERE id = ANY($1::uuid[]) AND triggered_at IS NULL AND trigger_at <= to_timestamp($2::float8)
ORDER BY trigger_at, id
FOR UPDATE SKIP LOCKED
