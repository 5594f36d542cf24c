DROP TABLE task_note, task_result, task_start, task_assignment, task_child, task;
DROP TABLE action_gap, lease, instance, worker;
DROP TABLE workflow_version, workflow;
DROP TABLE api_token, tenant_member, app_user, tenant;
