ALTER TABLE workflow
    DROP COLUMN paused_scheduled,
    DROP COLUMN paused_crons,
    DROP COLUMN paused_queue_ttl,
    DROP COLUMN paused_at;
ALTER TABLE task DROP COLUMN desired_labels;
DROP TABLE idempotency_claim;
DROP TABLE reopened;
DROP TABLE event;
DROP TABLE task_match;
DROP TABLE task_replay;
DROP TABLE run_result;
DROP TABLE run;
