UPDATE cron_trigger AS cron
SET next_at = to_timestamp(row.next_at)
FROM unnest($1::uuid[], $2::float8[]) AS row (id, next_at)
WHERE cron.id = row.id
