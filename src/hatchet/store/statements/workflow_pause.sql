-- Pausing again changes the settings; the pause has lasted since it began.
UPDATE workflow
SET paused_at = coalesce(paused_at, to_timestamp($3::float8)),
    paused_queue_ttl = $4::text,
    paused_crons = $5::text,
    paused_scheduled = $6::text
WHERE tenant_id = $1::uuid AND id = $2::uuid
