INSERT INTO reopened (tenant_id, id, reopened_at)
SELECT $1::uuid, id, to_timestamp($3::float8) FROM unnest($2::uuid[]) AS id
ON CONFLICT (tenant_id, id) DO UPDATE SET reopened_at = greatest(excluded.reopened_at, reopened.reopened_at)
