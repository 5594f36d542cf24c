-- Open tasks that are runs of their own, older than their tenant's low-watermark, and not in the list of reopened ones: the
-- next take-over would not find them. $1: from this id on.
WITH mark AS (
    SELECT substr(name, 11)::uuid AS tenant_id, low_watermark FROM lease
    WHERE name LIKE 'scheduler:%' AND low_watermark IS NOT NULL
), opened AS (
    SELECT task.tenant_id, task.id FROM task
    JOIN mark ON mark.tenant_id = task.tenant_id AND task.id < mark.low_watermark
    WHERE task.run_id IS NULL AND task.id >= $1::uuid
      AND NOT EXISTS (
        SELECT 1 FROM task_assignment AS a WHERE a.tenant_id = task.tenant_id AND a.task_id = task.id AND a.attempt = 0
      )
      AND NOT EXISTS (
        SELECT 1 FROM task_result AS r WHERE r.tenant_id = task.tenant_id AND r.task_id = task.id AND r.attempt = 0
      )
    UNION
    SELECT a.tenant_id, a.task_id FROM task_assignment AS a
    JOIN mark ON mark.tenant_id = a.tenant_id AND a.task_id < mark.low_watermark
    JOIN task ON task.tenant_id = a.tenant_id AND task.id = a.task_id AND task.run_id IS NULL
    WHERE a.task_id >= $1::uuid AND NOT EXISTS (
        SELECT 1 FROM task_result AS r WHERE r.tenant_id = a.tenant_id AND r.task_id = a.task_id AND r.attempt = a.attempt
      )
    UNION
    SELECT before.tenant_id, before.task_id FROM task_result AS before
    JOIN mark ON mark.tenant_id = before.tenant_id AND before.task_id < mark.low_watermark
    JOIN task ON task.tenant_id = before.tenant_id AND task.id = before.task_id AND task.run_id IS NULL
    WHERE before.task_id >= $1::uuid AND before.retry_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM task_result AS r
        WHERE r.tenant_id = before.tenant_id AND r.task_id = before.task_id AND r.attempt > before.attempt
      )
)
SELECT opened.tenant_id, opened.id FROM opened
WHERE NOT EXISTS (SELECT 1 FROM reopened WHERE reopened.tenant_id = opened.tenant_id AND reopened.id = opened.id)
ORDER BY opened.id
LIMIT $2::integer
