SELECT
    id, name, actions, slots::text AS slots, labels::text AS labels, sdk_version, language, language_version, os,
    runtime_extra, is_paused, listener_instance,
    extract(epoch FROM created_at)::float8 AS created_at,
    extract(epoch FROM last_heartbeat_at)::float8 AS last_heartbeat_at,
    extract(epoch FROM session_started_at)::float8 AS session_started_at,
    extract(epoch FROM unsubscribed_at)::float8 AS unsubscribed_at
FROM worker
WHERE tenant_id = $1::uuid AND id = $2::uuid
