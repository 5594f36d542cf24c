UPDATE scheduled_run AS scheduled
SET run_id = row.run_id, triggered_at = to_timestamp($3::float8), updated_at = to_timestamp($3::float8)
FROM unnest($1::uuid[], $2::uuid[]) AS row (id, run_id)
WHERE scheduled.id = row.id
