-- The runs that the named events started.
SELECT started.event_id, started.run_id, started.filter_id
FROM event_run AS started
WHERE started.tenant_id = $1::uuid AND started.event_id = ANY ($2::uuid[])
ORDER BY started.event_id, started.run_id
