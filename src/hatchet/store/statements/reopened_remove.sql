-- What has ended again; a row that a newer replay renewed stays.
DELETE FROM reopened
WHERE tenant_id = $1::uuid AND id = ANY($2::uuid[]) AND reopened_at <= to_timestamp($3::float8)
