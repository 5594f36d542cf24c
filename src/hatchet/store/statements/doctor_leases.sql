-- Who schedules for each tenant; is_held: by an instance that beat since $1 and whose lease lasted until then.
SELECT tenant.id AS tenant_id, lease.name, lease.holder, lease.low_watermark,
       lease.expires_at > to_timestamp($1::float8) AND instance.heartbeat_at > to_timestamp($1::float8) AS is_held
FROM tenant
LEFT JOIN lease ON lease.name = 'scheduler:' || tenant.id
LEFT JOIN instance ON instance.id = lease.holder
ORDER BY tenant.id
