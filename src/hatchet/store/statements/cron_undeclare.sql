-- The declared crons of the workflow, but for those with these expressions.
DELETE FROM cron_trigger WHERE workflow_id = $1::uuid AND method = 'DEFAULT' AND expression <> ALL($2::text[])
