from engine_fixture import Instance
from hatchet.core.statuses import RunStatus


async def test_a(one: Instance) -> None:
    await one.define()
    w = await one.worker()
    w.completes()
    r = await one.run()
    await one.ended(r, RunStatus.COMPLETED)
    print(await one.event_names(r))
    print((await one.ends(r).of(r)))

async def test_b(one: Instance) -> None:
    await one.define()
    w = await one.worker()
    w.completes()
    ids = await one.run_many(500)
    e = one.ends(*ids)
    for i in ids: await e.of(i)
