DELETE FROM event_filter WHERE tenant_id = $1::uuid AND workflow_id = $2::uuid AND is_declarative
