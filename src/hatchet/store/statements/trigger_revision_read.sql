SELECT revision FROM trigger_revision WHERE tenant_id = $1::uuid
