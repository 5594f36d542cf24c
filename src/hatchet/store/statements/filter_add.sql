-- Those that their workflow has already are left out.
INSERT INTO event_filter
    (id, tenant_id, workflow_id, scope, expression, payload, is_declarative, fingerprint, created_at, updated_at)
SELECT row.id, $5::uuid, $6::uuid, row.scope, row.expression, row.payload::jsonb, $7::boolean, row.fingerprint,
       to_timestamp($8::float8), to_timestamp($8::float8)
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $9::bytea[])
  AS row (id, scope, expression, payload, fingerprint)
ON CONFLICT (workflow_id, fingerprint) DO NOTHING
