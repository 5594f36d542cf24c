-- Those of the versions whose workflow was not deleted.
SELECT version.id
FROM workflow_version AS version
JOIN workflow ON workflow.id = version.workflow_id
WHERE version.id = ANY ($1::uuid[])
