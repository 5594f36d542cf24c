-- The workflow stays until the end of this transaction.
SELECT id FROM workflow WHERE tenant_id = $1::uuid AND id = $2::uuid FOR KEY SHARE
