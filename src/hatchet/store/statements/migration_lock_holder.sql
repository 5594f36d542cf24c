-- A bigint advisory key is shown as two halves: classid (high) and objid (low), objsubid 1.
SELECT l.pid, concat_ws(' ', a.application_name, host(a.client_addr)) AS client
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory'
  AND l.granted
  AND l.objsubid = 1
  AND (l.classid::bigint << 32 | l.objid::bigint) = $1::bigint
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
LIMIT 1;
