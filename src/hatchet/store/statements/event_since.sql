-- What was pushed with these keys from some time on. The id bounds the days and the index; the time in the row decides.
SELECT event.tenant_id, event.id, event.key, event.payload, event.additional_metadata::text AS additional_metadata,
       event.scope, event.priority,
       extract(epoch FROM event.happened_at)::float8 AS happened_at,
       extract(epoch FROM event.inserted_at)::float8 AS inserted_at
FROM event
WHERE event.tenant_id = $1::uuid AND event.key = ANY($2::text[]) AND event.id >= $3::uuid
  AND event.inserted_at >= to_timestamp($4::float8)
ORDER BY event.id
