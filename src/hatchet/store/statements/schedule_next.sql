-- When the next cron and the next scheduled run are due; null when there is none.
SELECT (SELECT extract(epoch FROM min(next_at))::float8 FROM cron_trigger WHERE next_at IS NOT NULL) AS cron_at,
       (SELECT extract(epoch FROM min(trigger_at))::float8 FROM scheduled_run WHERE triggered_at IS NULL) AS scheduled_at
