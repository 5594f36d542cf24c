-- One statement keeps an instance alive: its heartbeat, its leases, the leases nobody holds, and who else is there.
-- $1 instance, $2 started at, $3 lease seconds, $4 whether this instance takes leases, $5 seconds until an instance is dead
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() AS now
), beat AS (
    INSERT INTO instance (id, started_at, heartbeat_at)
    SELECT $1::uuid, to_timestamp($2::float8), now FROM clock
    ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at
), missing AS (
    INSERT INTO lease (name, expires_at)
    SELECT 'scheduler:' || tenant.id, to_timestamp(0) FROM tenant
    WHERE NOT EXISTS (SELECT 1 FROM lease WHERE lease.name = 'scheduler:' || tenant.id)
    ON CONFLICT DO NOTHING
), kept AS (
    UPDATE lease SET expires_at = clock.now + make_interval(secs => $3::float8)
    FROM clock
    WHERE lease.holder = $1::uuid AND $4::boolean
    RETURNING lease.name, lease.epoch, lease.low_watermark
), taken AS (
    UPDATE lease SET holder = $1::uuid, epoch = lease.epoch + 1, expires_at = clock.now + make_interval(secs => $3::float8)
    FROM clock
    WHERE $4::boolean AND lease.holder IS DISTINCT FROM $1::uuid AND lease.expires_at < clock.now
    RETURNING lease.name, lease.epoch, lease.low_watermark
)
SELECT extract(epoch FROM (SELECT now FROM clock))::float8 AS now,
       (SELECT coalesce(array_agg(i.id), '{}') FROM instance AS i, clock
         WHERE i.id <> $1::uuid AND i.heartbeat_at > clock.now - make_interval(secs => $5::float8)) AS peers,
       (SELECT coalesce(json_agg(json_build_array(held.name, held.epoch, held.low_watermark)), '[]')::text
          FROM (SELECT * FROM kept UNION ALL SELECT * FROM taken) AS held) AS held
