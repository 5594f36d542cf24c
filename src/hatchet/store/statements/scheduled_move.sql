-- Scheduled runs that were not started and not declared in code get another time; those that did come back.
UPDATE scheduled_run AS entry
SET trigger_at = to_timestamp(row.trigger_at), updated_at = to_timestamp($4::float8)
FROM unnest($2::uuid[], $3::float8[]) AS row (id, trigger_at)
WHERE entry.tenant_id = $1::uuid AND entry.id = row.id AND entry.triggered_at IS NULL AND entry.method = 'API'
RETURNING entry.id
