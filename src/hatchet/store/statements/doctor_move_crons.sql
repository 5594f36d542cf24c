-- Set the next instants of crons that still are as they were read.
UPDATE cron_trigger AS cron SET next_at = to_timestamp(row.next_at)
FROM unnest($1::uuid[], $2::boolean[], $3::float8[], $4::float8[]) AS row (id, is_enabled, next_at, was_at)
WHERE cron.id = row.id AND cron.is_enabled = row.is_enabled
  AND cron.next_at IS NOT DISTINCT FROM to_timestamp(row.was_at)
