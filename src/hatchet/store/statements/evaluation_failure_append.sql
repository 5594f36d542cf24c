INSERT INTO evaluation_failure (tenant_id, id, source, subject_id, expression, error, failed_at)
SELECT row.tenant_id, row.id, row.source, row.subject_id, row.expression, row.error, to_timestamp(row.failed_at)
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::float8[])
  AS row (tenant_id, id, source, subject_id, expression, error, failed_at)
