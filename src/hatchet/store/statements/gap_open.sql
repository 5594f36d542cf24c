INSERT INTO action_gap (tenant_id, action, since)
SELECT $1::uuid, action, to_timestamp($3::float8) FROM unnest($2::text[]) AS action
ON CONFLICT DO NOTHING
