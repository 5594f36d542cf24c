-- Events, newest first, each row with how many match in all; one row without an event when the page is empty. $2 and $3
-- bound the ids that are looked at, $4 and $5 the time of the insertion. Null for all: $6 keys, $7 scopes, $8 ids, $9 and
-- $10 pairs of metadata, all of which must match, $11 workflows of which a run was started. $12 to skip, $13 at most.
WITH matching AS MATERIALIZED (
    SELECT event.id
    FROM event
    WHERE event.tenant_id = $1::uuid AND event.id >= $2::uuid AND event.id < $3::uuid
      AND event.inserted_at BETWEEN to_timestamp($4::float8) AND to_timestamp($5::float8)
      AND ($6::text[] IS NULL OR event.key = ANY ($6))
      AND ($7::text[] IS NULL OR event.scope = ANY ($7))
      AND ($8::uuid[] IS NULL OR event.id = ANY ($8))
      AND ($9::text[] IS NULL OR NOT EXISTS (
          SELECT FROM unnest($9::text[], $10::text[]) AS pair (key, value)
          WHERE event.additional_metadata ->> pair.key IS DISTINCT FROM pair.value
      ))
      AND ($11::uuid[] IS NULL OR EXISTS (
          SELECT FROM event_run AS started
          WHERE started.tenant_id = $1::uuid AND started.event_id = event.id
            AND coalesce(
                (SELECT task.version_id FROM task
                 WHERE task.tenant_id = $1::uuid AND task.id = started.run_id AND task.run_id IS NULL LIMIT 1),
                (SELECT run.version_id FROM run WHERE run.tenant_id = $1::uuid AND run.id = started.run_id LIMIT 1)
            ) = ANY (ARRAY(
                SELECT version.id FROM workflow_version AS version
                WHERE version.tenant_id = $1::uuid AND version.workflow_id = ANY ($11::uuid[])
            ))
      ))
)
SELECT (SELECT count(*) FROM matching) AS total,
       event.tenant_id, event.id, event.key, event.payload, event.additional_metadata::text AS additional_metadata,
       event.scope, event.priority,
       extract(epoch FROM event.happened_at)::float8 AS happened_at,
       extract(epoch FROM event.inserted_at)::float8 AS inserted_at
FROM (SELECT) AS always
LEFT JOIN (SELECT id FROM matching ORDER BY id DESC OFFSET $12::bigint LIMIT $13::bigint) AS page ON true
LEFT JOIN LATERAL (
    SELECT * FROM event AS e WHERE e.tenant_id = $1::uuid AND e.id = page.id LIMIT 1
) AS event ON true
ORDER BY event.id DESC
