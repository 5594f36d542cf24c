-- How the named tasks ended last, for those that read it, also when they were opened again since.
SELECT DISTINCT ON (result.task_id) result.task_id AS id, result.outcome, result.output, result.error
FROM task_result AS result
WHERE result.tenant_id = $1::uuid AND result.task_id = ANY($2::uuid[]) AND result.retry_at IS NULL
ORDER BY result.task_id, result.attempt DESC
