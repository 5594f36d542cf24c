INSERT INTO worker (id, tenant_id, name, actions, slots, labels, sdk_version, language, language_version, os, runtime_extra,
                    created_at, last_heartbeat_at)
VALUES ($1::uuid, $2::uuid, $3::text, $4::text[], $5::jsonb, $6::jsonb, $7::text, $8::text, $9::text, $10::text, $11::text,
        to_timestamp($12::float8), to_timestamp($12::float8))
