-- What tasks write to their log, at most 1000 lines a task (behaviour-core C-13.5); id is a UUIDv7 and tells lines of one
-- instant apart. Lines are read by their task only, so the key is the only index.
CREATE TABLE task_log (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    id          uuid NOT NULL,
    attempt     integer NOT NULL,
    level       text NOT NULL,
    message     text NOT NULL,
    metadata    jsonb,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, task_id, id)
) PARTITION BY RANGE (task_id);
