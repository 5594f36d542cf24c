INSERT INTO task (tenant_id, id, version_id, step_id, creator, priority, input, additional_metadata,
                  parent_run_id, parent_task_id, child_index, child_key, filter_payload, inserted_at, desired_labels,
                  limits, desired_worker_id)
SELECT row.tenant_id, row.id, row.version_id, row.step_id, $1::uuid, row.priority, row.input, row.metadata::jsonb,
       row.parent_run_id, row.parent_task_id, row.child_index, row.child_key, row.filter_payload,
       to_timestamp(row.inserted_at), row.labels::jsonb, row.limits::jsonb, row.worker
FROM unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::smallint[], $7::bytea[], $8::text[],
            $9::uuid[], $10::uuid[], $11::integer[], $12::text[], $13::bytea[], $14::float8[], $15::text[], $16::text[],
            $17::uuid[])
  AS row (tenant_id, id, version_id, step_id, priority, input, metadata,
          parent_run_id, parent_task_id, child_index, child_key, filter_payload, inserted_at, labels, limits, worker)
