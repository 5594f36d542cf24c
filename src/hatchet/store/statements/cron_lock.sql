-- Those of the crons that still are as they were read, and that nobody else fires at the moment.
SELECT cron.id
FROM unnest($1::uuid[], $2::float8[]) AS row (id, next_at)
JOIN cron_trigger AS cron ON cron.id = row.id
WHERE cron.next_at = to_timestamp(row.next_at)
ORDER BY cron.next_at, cron.id
FOR UPDATE OF cron SKIP LOCKED
