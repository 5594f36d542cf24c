UPDATE worker SET last_heartbeat_at = to_timestamp(row.seen_at)
FROM unnest($1::uuid[], $2::float8[]) AS row (id, seen_at)
WHERE worker.id = row.id
