-- The keys of a tenant's events, at most $2, in their order: one look into the index a key, however many events have it.
WITH RECURSIVE known AS (
    (SELECT event.key FROM event WHERE event.tenant_id = $1::uuid ORDER BY event.key LIMIT 1)
    UNION ALL
    SELECT (
        SELECT event.key FROM event
        WHERE event.tenant_id = $1::uuid AND event.key > known.key
        ORDER BY event.key LIMIT 1
    )
    FROM known
    WHERE known.key IS NOT NULL
)
SELECT key FROM known WHERE key IS NOT NULL LIMIT $2::integer
