-- One row for each time, as long as the workflow is there; how many tells whether it is.
INSERT INTO scheduled_run (id, tenant_id, workflow_id, trigger_at, method, input, additional_metadata, priority,
                           parent_run_id, parent_task_id, child_index, child_key, created_at, updated_at)
SELECT row.id, $3::uuid, workflow.id, to_timestamp(row.trigger_at), 'API', $5::bytea, $6::jsonb, $7::smallint,
       $8::uuid, $9::uuid, $10::integer, $11::text, to_timestamp($12::float8), to_timestamp($12::float8)
FROM unnest($1::uuid[], $2::float8[]) AS row (id, trigger_at),
     (SELECT id FROM workflow WHERE id = $4::uuid AND tenant_id = $3::uuid FOR KEY SHARE) AS workflow
