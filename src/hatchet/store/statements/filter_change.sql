UPDATE event_filter AS one
SET scope = $3::text, expression = $4::text, payload = $5::jsonb, fingerprint = $6::bytea,
    updated_at = to_timestamp($7::float8)
WHERE one.tenant_id = $1::uuid AND one.id = $2::uuid
  AND NOT EXISTS (
      SELECT 1
      FROM event_filter AS other
      WHERE other.workflow_id = one.workflow_id AND other.fingerprint = $6::bytea AND other.id <> one.id
  )
