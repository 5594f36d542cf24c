-- People: a role that only reads, memberships with an id of their own, and sessions.

ALTER TABLE tenant_member DROP CONSTRAINT tenant_member_role_check;
ALTER TABLE tenant_member ADD CONSTRAINT tenant_member_role_check
    CHECK (role IN ('OWNER', 'ADMIN', 'MEMBER', 'VIEWER'));
-- The default also serves the version before this one, which goes on inserting owners while both run.
ALTER TABLE tenant_member ADD COLUMN id uuid NOT NULL DEFAULT gen_random_uuid();
ALTER TABLE tenant_member ADD CONSTRAINT tenant_member_id_key UNIQUE (id);
ALTER TABLE tenant_member ADD COLUMN can_view_payloads boolean NOT NULL DEFAULT true;
CREATE INDEX tenant_member_by_user ON tenant_member (user_id, created_at);

-- id: SHA-256 of what the cookie holds, so that who reads this table cannot take over a session.
CREATE TABLE user_session (
    id          bytea PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES app_user ON DELETE CASCADE,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL
);
CREATE INDEX user_session_by_user ON user_session (user_id);
CREATE INDEX user_session_by_expiry ON user_session (expires_at);

-- A workflow that is deleted leaves its versions: its runs are of them.
ALTER TABLE workflow_version DROP CONSTRAINT workflow_version_workflow_id_fkey;

-- Lines of all tasks of a tenant by their times; those of one task are found by the primary key.
CREATE INDEX task_log_by_time ON task_log (tenant_id, created_at, id);
