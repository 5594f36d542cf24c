-- Runs with all their tasks: one statement, so that there is never the one without the other. What a task has from its
-- run is given for each: a join here would be a nested loop on connections whose plans are pinned.
WITH runs AS (
    INSERT INTO run (tenant_id, id, version_id, creator, priority, input, additional_metadata,
                     parent_run_id, parent_task_id, child_index, child_key, filter_payload, inserted_at, desired_labels,
                     limits, desired_worker_id)
    SELECT row.tenant_id, row.id, row.version_id, $1::uuid, row.priority, row.input, row.metadata::jsonb,
           row.parent_run_id, row.parent_task_id, row.child_index, row.child_key, row.filter_payload,
           to_timestamp(row.inserted_at), row.labels::jsonb, row.limits::jsonb, row.worker
    FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::smallint[], $6::bytea[], $7::text[],
                $8::uuid[], $9::uuid[], $10::integer[], $11::text[], $12::bytea[], $13::float8[], $14::text[],
                $15::text[], $16::uuid[])
      AS row (tenant_id, id, version_id, priority, input, metadata,
              parent_run_id, parent_task_id, child_index, child_key, filter_payload, inserted_at, labels, limits, worker)
)
INSERT INTO task (tenant_id, id, run_id, version_id, step_id, creator, priority, input, inserted_at, desired_labels, limits)
SELECT row.tenant_id, row.id, row.run_id, row.version_id, row.step_id, $1::uuid, row.priority, '',
       to_timestamp(row.inserted_at), row.labels::jsonb, row.limits::jsonb
FROM unnest($17::uuid[], $18::uuid[], $19::uuid[], $20::uuid[], $21::uuid[], $22::smallint[], $23::float8[], $24::text[],
            $25::text[])
  AS row (tenant_id, id, run_id, version_id, step_id, priority, inserted_at, labels, limits)
