-- How many attempts of the task were evicted before the one that an assignment is of, or that a result opens: the count of
-- retries that workers and people see leaves evictions out.
ALTER TABLE task_result ADD COLUMN evictions integer NOT NULL DEFAULT 0;
ALTER TABLE task_assignment ADD COLUMN evictions integer NOT NULL DEFAULT 0;

-- Attempt n of an evicted task may be queued from then on. Without a row it waits for ever: retry_at of the eviction's
-- result is infinity.
CREATE TABLE task_restore (
    tenant_id    uuid NOT NULL,
    task_id      uuid NOT NULL,
    attempt      integer NOT NULL,
    restored_at  timestamptz NOT NULL,
    cause        text NOT NULL,
    PRIMARY KEY (tenant_id, task_id, attempt)
) PARTITION BY RANGE (task_id);
CREATE INDEX task_restore_by_time ON task_restore (tenant_id, restored_at);

-- The durable log of a task run. Branch 1 has no row here: every log has it.
CREATE TABLE durable_branch (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    branch      integer NOT NULL,
    parent      integer NOT NULL,
    first_node  integer NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, task_id, branch)
) PARTITION BY RANGE (task_id);

-- subject: the conditions of a wait (JSON), the workflow of a child run. child_name: under which a child is found again.
-- Waits of clients that know no log are in branch 0, found by child_name, too.
CREATE TABLE durable_entry (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    branch      integer NOT NULL,
    node        integer NOT NULL,
    kind        text NOT NULL,
    digest      bytea NOT NULL,
    invocation  integer NOT NULL,
    subject     text NOT NULL,
    label       text,
    child_name  text,
    run_id      uuid,
    is_single   boolean NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, task_id, branch, node)
) PARTITION BY RANGE (task_id);

-- What an entry came to: the first row wins.
CREATE TABLE durable_result (
    tenant_id     uuid NOT NULL,
    task_id       uuid NOT NULL,
    branch        integer NOT NULL,
    node          integer NOT NULL,
    satisfied_at  timestamptz NOT NULL,
    payload       bytea NOT NULL,
    is_failure    boolean NOT NULL,
    error         text,
    PRIMARY KEY (tenant_id, task_id, branch, node)
) PARTITION BY RANGE (task_id);

-- When a completion was first handed over on a branch: its place in the satisfied order, and how far the log had come by
-- then.
CREATE TABLE durable_release (
    tenant_id        uuid NOT NULL,
    task_id          uuid NOT NULL,
    branch           integer NOT NULL,
    node             integer NOT NULL,
    order_branch     integer NOT NULL,
    satisfied_order  integer NOT NULL,
    tip              integer NOT NULL,
    invocation       integer NOT NULL,
    PRIMARY KEY (tenant_id, task_id, branch, node, order_branch),
    UNIQUE (tenant_id, task_id, order_branch, satisfied_order)
) PARTITION BY RANGE (task_id);

-- An event met one condition of a wait that goes on.
CREATE TABLE durable_match (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    branch      integer NOT NULL,
    node        integer NOT NULL,
    condition   integer NOT NULL,
    event_id    uuid NOT NULL,
    matched_at  timestamptz NOT NULL,
    data        bytea NOT NULL,
    PRIMARY KEY (tenant_id, task_id, branch, node, condition)
) PARTITION BY RANGE (task_id);

-- How far an invocation has walked the log of earlier ones: 0 when it began, the last recorded node when it was through.
CREATE TABLE durable_walk (
    tenant_id   uuid NOT NULL,
    task_id     uuid NOT NULL,
    invocation  integer NOT NULL,
    node        integer NOT NULL,
    PRIMARY KEY (tenant_id, task_id, invocation, node)
) PARTITION BY RANGE (task_id);

-- Until when a tenant's owner has heard all events that durable tasks wait for: the next one looks no further back.
ALTER TABLE lease ADD COLUMN events_until timestamptz;
