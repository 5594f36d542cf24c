UPDATE workflow
SET resumed_at = to_timestamp($3::float8),
    paused_at = NULL,
    paused_queue_ttl = NULL,
    paused_crons = NULL,
    paused_scheduled = NULL
WHERE tenant_id = $1::uuid AND id = $2::uuid AND paused_at IS NOT NULL
