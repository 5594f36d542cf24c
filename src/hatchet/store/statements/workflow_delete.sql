-- Its crons, scheduled runs and filters go with it; its versions stay for the runs that are of them.
DELETE FROM workflow WHERE tenant_id = $1::uuid AND id = $2::uuid
