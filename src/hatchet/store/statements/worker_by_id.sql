SELECT id, tenant_id, name, actions, slots::text AS slots, labels::text AS labels, is_paused, listener_instance,
       unsubscribed_at IS NOT NULL AS is_unsubscribed, extract(epoch FROM last_heartbeat_at)::float8 AS last_heartbeat_at,
       extract(epoch FROM session_started_at)::float8 AS session_started_at, language
FROM worker
WHERE tenant_id = $1::uuid AND id = ANY($2::uuid[])
