"""Schedule runs of worker.py, change one and delete one; create a cron and delete it. The worker must be running."""

import time
from datetime import UTC, datetime, timedelta

from worker import Backup, back_up, hatchet

if __name__ == "__main__":
    print("declared:", [cron.cron for cron in hatchet.cron.list(workflow_id=back_up.id).rows or []])

    now = datetime.now(UTC)
    soon = back_up.schedule(now + timedelta(seconds=1), Backup(of="the orders")).scheduled_workflows[0].id
    later = back_up.schedule(now + timedelta(days=7), Backup(of="the week")).scheduled_workflows[0].id
    hatchet.scheduled.update(later, now + timedelta(days=8))
    hatchet.scheduled.delete(later)
    while (run_id := hatchet.scheduled.get(soon).workflow_run_id) is None:
        time.sleep(0.1)
    print("scheduled:", back_up.get_result(run_id))

    cron = back_up.create_cron(cron_name="every-second", expression="* * * * * *", input=Backup(of="the second"))
    time.sleep(2.5)
    hatchet.cron.delete(cron.metadata.id)
    print("left:", [cron.cron for cron in hatchet.cron.list(workflow_id=back_up.id).rows or []])
