SELECT count(*) AS total
FROM event_filter
WHERE tenant_id = $1::uuid
  AND ($2::uuid[] IS NULL OR workflow_id = ANY ($2::uuid[]))
  AND ($3::text[] IS NULL OR scope = ANY ($3::text[]))
