DELETE FROM event_filter WHERE tenant_id = $1::uuid AND id = $2::uuid
