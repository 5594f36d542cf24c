UPDATE worker SET listener_instance = $3::uuid, session_started_at = to_timestamp($4::float8),
                  last_heartbeat_at = to_timestamp($4::float8), unsubscribed_at = NULL
WHERE tenant_id = $1::uuid AND id = $2::uuid
