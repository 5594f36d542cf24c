DROP TABLE durable_walk;
DROP TABLE durable_match;
DROP TABLE durable_release;
DROP TABLE durable_result;
DROP TABLE durable_entry;
DROP TABLE durable_branch;
DROP TABLE task_restore;
ALTER TABLE task_assignment DROP COLUMN evictions;
ALTER TABLE task_result DROP COLUMN evictions;
