WITH found AS (
    SELECT id FROM workflow WHERE id = $3::uuid AND tenant_id = $2::uuid FOR KEY SHARE
), added AS (
    INSERT INTO cron_trigger (id, tenant_id, workflow_id, name, expression, time_zone, method, input,
                              additional_metadata, priority, next_at, created_at, updated_at)
    SELECT $1::uuid, $2::uuid, found.id, $4::text, $5::text, $6::text, 'API', $7::bytea, $8::jsonb, $9::smallint,
           to_timestamp($10::float8), to_timestamp($11::float8), to_timestamp($11::float8)
    FROM found
    ON CONFLICT (workflow_id, method, expression, name) DO NOTHING
    RETURNING id
)
SELECT EXISTS (SELECT FROM found) AS is_found, EXISTS (SELECT FROM added) AS is_added
