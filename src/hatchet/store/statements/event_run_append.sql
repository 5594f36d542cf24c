INSERT INTO event_run (tenant_id, event_id, run_id, filter_id)
SELECT row.tenant_id, row.event_id, row.run_id, row.filter_id
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) AS row (tenant_id, event_id, run_id, filter_id)
