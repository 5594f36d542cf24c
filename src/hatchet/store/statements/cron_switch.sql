UPDATE cron_trigger
SET is_enabled = $3::boolean, next_at = to_timestamp($4::float8), updated_at = to_timestamp($5::float8)
WHERE tenant_id = $1::uuid AND id = $2::uuid AND is_enabled <> $3
