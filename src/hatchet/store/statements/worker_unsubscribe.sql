UPDATE worker SET listener_instance = NULL, unsubscribed_at = to_timestamp($3::float8)
WHERE tenant_id = $1::uuid AND id = $2::uuid
