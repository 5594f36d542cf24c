from __future__ import annotations
import time, os, uuid
import pytest
from engine_fixture import World
from engine_worker import TENANT, until
from hatchet.engine import leases
from hatchet.core.ids import lowest_at

@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.2)

FILL = """
WITH numbers AS MATERIALIZED (
    SELECT n, (lpad(to_hex((extract(epoch FROM now())*1000)::bigint - 1000), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8000' || lpad(to_hex(n), 12, '0'))::uuid AS id
    FROM generate_series(1, {total}) AS n
), tasks AS (
    INSERT INTO task (tenant_id, id, version_id, step_id, creator, priority, input, inserted_at)
    SELECT '{tenant}', id, '{version}', '{step}', '{tenant}', 1, '{{}}'::bytea, now() FROM numbers
), assignments AS (
    INSERT INTO task_assignment (tenant_id, task_id, attempt, worker_id, app_retries, internal_retries, assigned_at, timeout_at)
    SELECT '{tenant}', id, 0, '{worker}', 0, 0, now(), now() + interval '1 minute' FROM numbers
), names AS (
    INSERT INTO reopened SELECT '{tenant}', id, now() FROM numbers
)
INSERT INTO task_result (tenant_id, task_id, attempt, outcome, finished_at, retry_at, app_retries, internal_retries, evictions)
SELECT '{tenant}', id, 0, 'EVICTED', now(), 'infinity', 0, 0, 1 FROM numbers
"""

@pytest.mark.parametrize("is_old", [True, False])
async def test_bench(world: World, is_old: bool) -> None:
    one = await world.engine()
    version = await one.define(is_durable=True)
    await one.kill()
    N = 100_000
    import asyncpg
    connection = await asyncpg.connect(world.dsn)
    await connection.execute(FILL.format(total=N, tenant=TENANT, version=version.id, step=version.tasks[0].id, worker=uuid.uuid4()))
    await connection.execute("ANALYZE")
    if is_old:
        await connection.execute("UPDATE lease SET low_watermark = $1", lowest_at(time.time() + 60))
    import hatchet.engine.ownership as ow
    real, spent = ow.recover, []
    async def timed(*a, **k):
        t = time.perf_counter(); await real(*a, **k)
        if a[0].tenant_id == TENANT: spent.append(time.perf_counter() - t)
    ow.recover = timed
    two = await world.engine()
    await until(lambda: spent and len(two.scheduler.backoff) == N, "all are here", 120)
    ow.recover = real
    ids = [t.id for t in two.scheduler.backoff][:10_000]
    t1 = time.perf_counter()
    assert len(await two.engine.evicting.restore(TENANT, ids, "x")) == 10_000
    t2 = time.perf_counter()
    await two.watched()
    t3 = time.perf_counter()
    watch = two.engine.ownership._owned[TENANT].watch
    await watch._raise_watermark(two.clock.now())
    t4 = time.perf_counter()
    open("/tmp/work/attempts_bench.txt", "a").write(f"old={is_old} recover {spent[0]:.2f} restore10k {t2-t1:.2f} twoturns {t3-t2:.2f} watermark {t4-t3:.3f}\n")
    await connection.close()
