-- Runs of more than one task, or of a task that waits for something. Their tasks are rows of `task` with a run_id, made
-- with the run; ids of tasks follow from the run's id, so all facts of a run lie in one day and need no look-up.
CREATE TABLE run (
    tenant_id            uuid NOT NULL,
    id                   uuid NOT NULL,
    version_id           uuid NOT NULL,
    creator              uuid NOT NULL,
    priority             smallint NOT NULL,
    input                bytea NOT NULL,
    additional_metadata  jsonb,
    parent_run_id        uuid,
    parent_task_id       uuid,
    child_index          integer,
    child_key            text,
    desired_labels       jsonb,
    inserted_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);

-- How a run ended, as far as its owner noticed: it follows from the tasks' results and is written once for recovery and
-- lists. A replay overwrites it.
CREATE TABLE run_result (
    tenant_id    uuid NOT NULL,
    run_id       uuid NOT NULL,
    status       text NOT NULL,
    finished_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, run_id)
) PARTITION BY RANGE (run_id);

-- A person opened attempt n of a task that had ended. is_queued: it may run at once; otherwise its parents and
-- conditions decide anew.
CREATE TABLE task_replay (
    tenant_id    uuid NOT NULL,
    task_id      uuid NOT NULL,
    attempt      integer NOT NULL,
    replayed_at  timestamptz NOT NULL,
    is_queued    boolean NOT NULL,
    PRIMARY KEY (tenant_id, task_id, attempt)
) PARTITION BY RANGE (task_id);

-- An event met a condition (by its number) of a waiting attempt.
CREATE TABLE task_match (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    attempt     integer NOT NULL,
    condition   integer NOT NULL,
    event_id    uuid NOT NULL,
    matched_at  timestamptz NOT NULL,
    data        bytea NOT NULL,
    PRIMARY KEY (tenant_id, task_id, attempt, condition)
) PARTITION BY RANGE (task_id);

-- What was pushed, partitioned by the day inside its own id.
CREATE TABLE event (
    tenant_id            uuid NOT NULL,
    id                   uuid NOT NULL,
    key                  text NOT NULL,
    payload              bytea NOT NULL,
    additional_metadata  jsonb,
    scope                text,
    priority             smallint,
    happened_at          timestamptz NOT NULL,
    inserted_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);
CREATE INDEX event_by_key ON event (tenant_id, key, id);

-- Work that was replayed and has not ended again: it may be older than everything else that is open. Rows go when it ends.
CREATE TABLE reopened (
    tenant_id    uuid NOT NULL,
    id           uuid NOT NULL,
    reopened_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
);

-- Which run holds an idempotency key, and until when. Expired rows are taken over, or swept up.
CREATE TABLE idempotency_claim (
    tenant_id   uuid NOT NULL,
    key         text NOT NULL,
    run_id      uuid NOT NULL,
    is_status   boolean NOT NULL,
    expires_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
) WITH (fillfactor = 70);
CREATE INDEX idempotency_claim_by_expiry ON idempotency_claim (expires_at);

ALTER TABLE task ADD COLUMN desired_labels jsonb;

-- A paused workflow's runs are accepted and wait; queue_ttl (duration text) ends that wait.
ALTER TABLE workflow
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN paused_queue_ttl text,
    ADD COLUMN paused_crons text,
    ADD COLUMN paused_scheduled text;
