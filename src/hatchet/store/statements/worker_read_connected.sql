-- Workers of all tenants whose stream is open and that were seen since $1.
SELECT count(*) AS connected
FROM worker
WHERE listener_instance IS NOT NULL AND last_heartbeat_at > to_timestamp($1::float8)
