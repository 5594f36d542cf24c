ALTER TABLE workflow DROP COLUMN resumed_at;
