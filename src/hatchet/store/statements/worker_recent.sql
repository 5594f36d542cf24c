-- The workers of a tenant that could hold or take work: seen since $2, or holding open attempts ($3).
SELECT id, tenant_id, name, actions, slots::text AS slots, labels::text AS labels, is_paused, listener_instance,
       unsubscribed_at IS NOT NULL AS is_unsubscribed, extract(epoch FROM last_heartbeat_at)::float8 AS last_heartbeat_at,
       extract(epoch FROM session_started_at)::float8 AS session_started_at, language
FROM worker
WHERE tenant_id = $1::uuid AND (last_heartbeat_at > to_timestamp($2::float8) OR id = ANY($3::uuid[]))
