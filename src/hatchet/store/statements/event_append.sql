-- Nothing is written when a tenant's triggers or filters have changed since they were read ($10, $11).
INSERT INTO event (tenant_id, id, key, payload, additional_metadata, scope, priority, happened_at, inserted_at)
SELECT row.tenant_id, row.id, row.key, row.payload, row.metadata::jsonb, row.scope, row.priority,
       to_timestamp(row.happened_at), to_timestamp(row.inserted_at)
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::smallint[],
            $8::float8[], $9::float8[])
  AS row (tenant_id, id, key, payload, metadata, scope, priority, happened_at, inserted_at)
WHERE NOT EXISTS (
    SELECT 1
    FROM unnest($10::uuid[], $11::bigint[]) AS known (tenant_id, revision)
    WHERE known.revision <> coalesce(
        (SELECT now.revision FROM trigger_revision AS now WHERE now.tenant_id = known.tenant_id), 0
    )
)
