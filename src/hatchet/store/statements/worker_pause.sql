UPDATE worker SET is_paused = $3::boolean WHERE tenant_id = $1::uuid AND id = $2::uuid
