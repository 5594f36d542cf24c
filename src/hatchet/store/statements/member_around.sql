-- The membership of $1 in the tenant of task, run or event $2; no row when the person is no member of its tenant.
SELECT m.tenant_id, m.role, m.can_view_payloads
FROM tenant_member m
WHERE m.user_id = $1::uuid
  AND (EXISTS (SELECT 1 FROM task WHERE task.tenant_id = m.tenant_id AND task.id = $2::uuid)
       OR EXISTS (SELECT 1 FROM run WHERE run.tenant_id = m.tenant_id AND run.id = $2::uuid)
       OR EXISTS (SELECT 1 FROM event WHERE event.tenant_id = m.tenant_id AND event.id = $2::uuid))
LIMIT 1
