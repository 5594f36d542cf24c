DELETE FROM cron_trigger WHERE id = ANY($1::uuid[])
