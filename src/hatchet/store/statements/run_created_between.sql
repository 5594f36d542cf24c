-- What another instance announced: the runs it created from one id to another.
SELECT run.id FROM run
WHERE run.tenant_id = $1::uuid AND run.id BETWEEN $2::uuid AND $3::uuid AND run.creator = $4::uuid
ORDER BY run.id
