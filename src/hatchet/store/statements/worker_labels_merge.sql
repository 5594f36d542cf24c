UPDATE worker SET labels = labels || $3::jsonb WHERE tenant_id = $1::uuid AND id = $2::uuid
