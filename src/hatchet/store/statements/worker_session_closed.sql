-- Only the instance that holds the newest session may say that there is none.
UPDATE worker SET listener_instance = NULL
WHERE tenant_id = $1::uuid AND id = $2::uuid AND listener_instance = $3::uuid
