INSERT INTO event (tenant_id, id, key, payload, additional_metadata, scope, priority, happened_at, inserted_at)
SELECT row.tenant_id, row.id, row.key, row.payload, row.metadata::jsonb, row.scope, row.priority,
       to_timestamp(row.happened_at), to_timestamp(row.inserted_at)
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::smallint[],
            $8::float8[], $9::float8[])
  AS row (tenant_id, id, key, payload, metadata, scope, priority, happened_at, inserted_at)
