-- Registrations of one workflow go one after the other, so that equal ones see each other's version (C-3.2).
SELECT id
FROM workflow
WHERE tenant_id = $1 AND name = $2
FOR UPDATE
