-- Stored events with a key and a scope, seen at a time or later, newest first: for each question ($2 number, $3 key, $4
-- scope, $5 lowest id, $6 seen since, $7 below this id) as many as $8.
SELECT asked.number, found.id, found.payload, extract(epoch FROM found.inserted_at)::float8 AS inserted_at
FROM unnest($2::integer[], $3::text[], $4::text[], $5::uuid[], $6::float8[], $7::uuid[])
  AS asked (number, key, scope, lowest, since, below)
CROSS JOIN LATERAL (
    SELECT event.id, event.payload, event.inserted_at FROM event
    WHERE event.tenant_id = $1::uuid AND event.key = asked.key AND event.id >= asked.lowest
      AND event.id < asked.below AND event.scope = asked.scope AND event.inserted_at >= to_timestamp(asked.since)
    ORDER BY event.id DESC LIMIT $8::bigint
) AS found
ORDER BY asked.number, found.id DESC
