DELETE FROM cron_trigger WHERE tenant_id = $1::uuid AND id = $2::uuid AND method = 'API'
