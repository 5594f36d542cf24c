-- The workflows that are paused, and those that were: their tasks may have waited for the end of the pause.
SELECT id, paused_queue_ttl,
       extract(epoch FROM paused_at)::float8 AS paused_at,
       extract(epoch FROM resumed_at)::float8 AS resumed_at
FROM workflow
WHERE tenant_id = $1::uuid AND (paused_at IS NOT NULL OR resumed_at IS NOT NULL)
