-- Registrations and deletions of the workflow wait for the end of this transaction.
SELECT name FROM workflow WHERE tenant_id = $1::uuid AND id = $2::uuid FOR UPDATE
