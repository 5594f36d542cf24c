-- What has ended again; a row that a newer replay renewed stays.
DELETE FROM reopened
USING unnest($2::uuid[], $3::float8[]) AS row (id, until)
WHERE reopened.tenant_id = $1::uuid AND reopened.id = row.id AND reopened.reopened_at <= to_timestamp(row.until)
