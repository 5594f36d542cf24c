-- Identity -----------------------------------------------------------------------------------------------------

CREATE TABLE tenant (
    id          uuid PRIMARY KEY,
    name        text NOT NULL,
    slug        text NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL
);

CREATE TABLE app_user (
    id              uuid PRIMARY KEY,
    email           text NOT NULL UNIQUE,
    name            text NOT NULL,
    password_hash   text,
    email_verified  boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL
);

CREATE TABLE tenant_member (
    tenant_id   uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    user_id     uuid NOT NULL REFERENCES app_user ON DELETE CASCADE,
    role        text NOT NULL CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER')),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, user_id)
);

CREATE TABLE api_token (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name        text NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz
);
CREATE INDEX api_token_by_tenant ON api_token (tenant_id, created_at);

-- Definitions --------------------------------------------------------------------------------------------------

CREATE TABLE workflow (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name        text NOT NULL,
    created_at  timestamptz NOT NULL,
    UNIQUE (tenant_id, name)
);

-- definition: the whole registered definition as JSON, each task with the id that it got here.
CREATE TABLE workflow_version (
    id             uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL,
    workflow_id    uuid NOT NULL REFERENCES workflow ON DELETE CASCADE,
    version_order  bigint NOT NULL,
    checksum       text NOT NULL,
    definition     jsonb NOT NULL,
    created_at     timestamptz NOT NULL,
    UNIQUE (workflow_id, version_order)
);

-- Workers and instances ----------------------------------------------------------------------------------------

CREATE TABLE worker (
    id                 uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL,
    name               text NOT NULL,
    actions            text[] NOT NULL,
    slots              jsonb NOT NULL,
    labels             jsonb NOT NULL,
    sdk_version        text,
    language           text,
    language_version   text,
    os                 text,
    runtime_extra      text,
    created_at         timestamptz NOT NULL,
    last_heartbeat_at  timestamptz,
    listener_instance  uuid,
    session_started_at timestamptz,
    is_paused          boolean NOT NULL DEFAULT false,
    unsubscribed_at    timestamptz
) WITH (fillfactor = 50);
CREATE INDEX worker_by_tenant ON worker (tenant_id, created_at);

CREATE TABLE instance (
    id            uuid PRIMARY KEY,
    started_at    timestamptz NOT NULL,
    heartbeat_at  timestamptz NOT NULL
) WITH (fillfactor = 50);

-- One owner per name at a time; every write of an owner carries the epoch it holds (fencing).
CREATE TABLE lease (
    name           text PRIMARY KEY,
    holder         uuid,
    epoch          bigint NOT NULL DEFAULT 0,
    expires_at     timestamptz NOT NULL,
    low_watermark  uuid
) WITH (fillfactor = 50);

-- Times in which tasks of an action waited and no worker served it: one row for all of them, not one a task.
CREATE TABLE action_gap (
    tenant_id  uuid NOT NULL,
    action     text NOT NULL,
    since      timestamptz NOT NULL,
    until      timestamptz,
    PRIMARY KEY (tenant_id, action, since)
);

-- Facts about tasks: only ever appended, partitioned by the day inside the task's UUIDv7 -------------------------

-- A standalone task is its own run: run_id is null and the run's id is the task's (behaviour-core C-0.7).
CREATE TABLE task (
    tenant_id            uuid NOT NULL,
    id                   uuid NOT NULL,
    version_id           uuid NOT NULL,
    step_id              uuid NOT NULL,
    creator              uuid NOT NULL,
    run_id               uuid,
    priority             smallint NOT NULL,
    input                bytea NOT NULL,
    additional_metadata  jsonb,
    parent_run_id        uuid,
    parent_task_id       uuid,
    child_index          integer,
    child_key            text,
    inserted_at          timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, id)
) PARTITION BY RANGE (id);

-- Which run a spawning task got for a key (behaviour-core C-4.13): the same one again on every attempt.
CREATE TABLE task_child (
    tenant_id       uuid NOT NULL,
    parent_task_id  uuid NOT NULL,
    child_key       text NOT NULL,
    child_id        uuid NOT NULL,
    PRIMARY KEY (tenant_id, parent_task_id, child_key)
) PARTITION BY RANGE (parent_task_id);

-- Attempt n of a task was given to a worker.
CREATE TABLE task_assignment (
    tenant_id         uuid NOT NULL,
    task_id           uuid NOT NULL,
    attempt           integer NOT NULL,
    worker_id         uuid NOT NULL,
    app_retries       integer NOT NULL,
    internal_retries  integer NOT NULL,
    assigned_at       timestamptz NOT NULL,
    timeout_at        timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, task_id, attempt)
) PARTITION BY RANGE (task_id);

-- The worker said that attempt n runs. Written only for attempts that outlive one flush.
CREATE TABLE task_start (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    attempt     integer NOT NULL,
    started_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, task_id, attempt)
) PARTITION BY RANGE (task_id);

-- How attempt n ended: the first row for (task, attempt) wins. retry_at set: attempt n + 1 exists from then on,
-- with these counters; retry_at null: this is the end of the task.
CREATE TABLE task_result (
    tenant_id         uuid NOT NULL,
    task_id           uuid NOT NULL,
    attempt           integer NOT NULL,
    outcome           text NOT NULL,
    output            bytea,
    error             text,
    started_at        timestamptz,
    finished_at       timestamptz NOT NULL,
    retry_at          timestamptz,
    app_retries       integer NOT NULL,
    internal_retries  integer NOT NULL,
    PRIMARY KEY (tenant_id, task_id, attempt)
) PARTITION BY RANGE (task_id);

-- What happened to a running or waiting attempt besides: TIMEOUT_REFRESHED, SLOT_RELEASED.
CREATE TABLE task_note (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    attempt     integer NOT NULL,
    noted_at    timestamptz NOT NULL,
    kind        text NOT NULL,
    timeout_at  timestamptz,
    PRIMARY KEY (tenant_id, task_id, attempt, noted_at, kind)
) PARTITION BY RANGE (task_id);
