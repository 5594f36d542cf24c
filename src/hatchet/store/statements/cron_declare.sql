-- One that was declared before keeps its switch and its next instant.
INSERT INTO cron_trigger (id, tenant_id, workflow_id, name, expression, time_zone, method, input, priority, next_at,
                          created_at, updated_at)
SELECT row.id, $1::uuid, $2::uuid, '', row.expression, row.time_zone, 'DEFAULT', $3::bytea, $4::smallint,
       to_timestamp(row.next_at), to_timestamp($5::float8), to_timestamp($5::float8)
FROM unnest($6::uuid[], $7::text[], $8::text[], $9::float8[]) AS row (id, expression, time_zone, next_at)
ON CONFLICT (workflow_id, method, expression, name) DO UPDATE
SET input = excluded.input, priority = excluded.priority, updated_at = excluded.updated_at
