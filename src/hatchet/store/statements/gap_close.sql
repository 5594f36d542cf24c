-- $2 null: every open gap of the tenant.
UPDATE action_gap SET until = to_timestamp($3::float8)
WHERE tenant_id = $1::uuid AND until IS NULL AND ($2::text[] IS NULL OR action = ANY($2::text[]))
