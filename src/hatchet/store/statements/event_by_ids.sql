SELECT event.tenant_id, event.id, event.key, event.payload, event.additional_metadata::text AS additional_metadata,
       event.scope, event.priority,
       extract(epoch FROM event.happened_at)::float8 AS happened_at,
       extract(epoch FROM event.inserted_at)::float8 AS inserted_at
FROM event
WHERE event.tenant_id = $1::uuid AND event.id = ANY($2::uuid[])
ORDER BY event.id
