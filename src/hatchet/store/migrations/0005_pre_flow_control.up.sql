-- Limits of runs and task runs, computed when they are created (keys of concurrency rules, units of rate limits, key of a
-- batch); null where nothing is declared. filter_payload: of the event filter that started the run. desired_worker_id: the
-- worker that a sticky run was asked for.
ALTER TABLE task
    ADD COLUMN limits jsonb,
    ADD COLUMN filter_payload bytea,
    ADD COLUMN desired_worker_id uuid;
ALTER TABLE run
    ADD COLUMN limits jsonb,
    ADD COLUMN filter_payload bytea,
    ADD COLUMN desired_worker_id uuid;

-- Attempts of one batch share its id, which is the worker's name for it, too. batch_reason: why the batch was flushed.
ALTER TABLE task_assignment
    ADD COLUMN batch_id uuid,
    ADD COLUMN batch_reason text;
CREATE INDEX task_assignment_by_batch ON task_assignment (tenant_id, batch_id) WHERE batch_id IS NOT NULL;

-- What a note says besides its time, for people.
ALTER TABLE task_note ADD COLUMN message text;

-- Rules that all workflows of a tenant share by their name, as the latest registration left them.
CREATE TABLE tenant_rule (
    tenant_id            uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name                 text NOT NULL,
    expression           text NOT NULL,
    strategy             text NOT NULL,
    max_runs             integer NOT NULL,
    max_runs_expression  text,
    updated_at           timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- limit_value, time_window and paused_until are what people and tasks ask for. units_left as of refilled_at is what the
-- tenant's owner has taken in that window; both null before the first use.
CREATE TABLE rate_limit (
    tenant_id     uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    key           text NOT NULL,
    limit_value   bigint,
    time_window   text,
    paused_until  timestamptz,
    units_left    bigint,
    refilled_at   timestamptz,
    updated_at    timestamptz NOT NULL,
    is_dynamic    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant_id, key)
) WITH (fillfactor = 50);
-- What no task has taken units of for long goes (is_dynamic: it comes again with the next task).
CREATE INDEX rate_limit_unused ON rate_limit (refilled_at) WHERE is_dynamic;

-- A number that grows with every change of a tenant's event triggers and filters: what an instance remembers of them is
-- compared with it in the transaction that writes an event.
CREATE TABLE trigger_revision (
    tenant_id  uuid PRIMARY KEY REFERENCES tenant ON DELETE CASCADE,
    revision   bigint NOT NULL
) WITH (fillfactor = 50);

-- fingerprint: digest of workflow, scope, expression and payload, which are unique together.
CREATE TABLE event_filter (
    id              uuid PRIMARY KEY,
    tenant_id       uuid NOT NULL,
    workflow_id     uuid NOT NULL REFERENCES workflow ON DELETE CASCADE,
    scope           text NOT NULL,
    expression      text NOT NULL,
    payload         jsonb NOT NULL,
    is_declarative  boolean NOT NULL,
    fingerprint     bytea NOT NULL,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    UNIQUE (workflow_id, fingerprint)
);
CREATE INDEX event_filter_by_tenant ON event_filter (tenant_id, created_at, id);

-- Which runs an event started, and by which filter; written with the runs.
CREATE TABLE event_run (
    tenant_id  uuid NOT NULL,
    event_id   uuid NOT NULL,
    run_id     uuid NOT NULL,
    filter_id  uuid,
    PRIMARY KEY (tenant_id, event_id, run_id)
) PARTITION BY RANGE (event_id);

-- Expressions that had no value where that means that nothing happens: filters, idempotency keys of events and schedules.
CREATE TABLE evaluation_failure (
    tenant_id   uuid NOT NULL,
    id          uuid NOT NULL,
    source      text NOT NULL,
    subject_id  uuid,
    expression  text NOT NULL,
    error       text NOT NULL,
    failed_at   timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);

-- method: DEFAULT for those declared in code, API for the others. time_zone: a name of the IANA data base; instants are
-- computed in it. next_at: the next instant at which it fires; null while it is disabled, or when it never fires again.
CREATE TABLE cron_trigger (
    id                   uuid PRIMARY KEY,
    tenant_id            uuid NOT NULL,
    workflow_id          uuid NOT NULL REFERENCES workflow ON DELETE CASCADE,
    name                 text NOT NULL,
    expression           text NOT NULL,
    time_zone            text NOT NULL DEFAULT 'UTC',
    method               text NOT NULL CHECK (method IN ('DEFAULT', 'API')),
    input                bytea NOT NULL,
    additional_metadata  jsonb NOT NULL DEFAULT '{}',
    priority             smallint NOT NULL,
    is_enabled           boolean NOT NULL DEFAULT true,
    next_at              timestamptz,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    UNIQUE (workflow_id, method, expression, name)
) WITH (fillfactor = 70);
CREATE INDEX cron_trigger_due ON cron_trigger (next_at, id) WHERE next_at IS NOT NULL;
CREATE INDEX cron_trigger_by_tenant ON cron_trigger (tenant_id, created_at, id);

-- A run that is to start once. run_id and triggered_at are set in the transaction that starts it.
CREATE TABLE scheduled_run (
    id                   uuid PRIMARY KEY,
    tenant_id            uuid NOT NULL,
    workflow_id          uuid NOT NULL REFERENCES workflow ON DELETE CASCADE,
    trigger_at           timestamptz NOT NULL,
    method               text NOT NULL CHECK (method IN ('DEFAULT', 'API')),
    input                bytea NOT NULL,
    additional_metadata  jsonb NOT NULL DEFAULT '{}',
    priority             smallint NOT NULL,
    parent_run_id        uuid,
    parent_task_id       uuid,
    child_index          integer,
    child_key            text,
    run_id               uuid,
    triggered_at         timestamptz,
    created_at           timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX scheduled_run_due ON scheduled_run (trigger_at, id) WHERE triggered_at IS NULL;
CREATE INDEX scheduled_run_triggered ON scheduled_run (triggered_at) WHERE triggered_at IS NOT NULL;
CREATE INDEX scheduled_run_by_workflow ON scheduled_run (workflow_id);
CREATE INDEX scheduled_run_by_tenant ON scheduled_run (tenant_id, trigger_at, id);
