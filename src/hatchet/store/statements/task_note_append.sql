INSERT INTO task_note (tenant_id, task_id, attempt, noted_at, kind, timeout_at)
VALUES ($1::uuid, $2::uuid, $3::integer, to_timestamp($4::float8), $5::text, to_timestamp($6::float8))
ON CONFLICT DO NOTHING
