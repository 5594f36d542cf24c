"""Run more than the limits of worker.py allow at once, and see who waits. The worker must be running."""

import time

from worker import MAILS, Mail, Search, hatchet, search, send_mail

from hatchet_sdk import RateLimitDuration

if __name__ == "__main__":
    began = time.time()
    searches = [Search(user=user) for user in ["ann"] * 5 + ["bob"]]
    *ann, bob = search.run_many([search.create_bulk_run_item(input=each) for each in searches])
    print("ann's last search waited for a later second:", max(each["began"] for each in ann) - began > 1)
    print("bob's did not wait:", bob["began"] < max(each["began"] for each in ann))

    hatchet.rate_limits.put(MAILS, limit=100, duration=RateLimitDuration.MINUTE)
    print("sent:", send_mail.run(Mail(to=["ann", "bob", "cy"]))["sent"])
    [limit] = hatchet.rate_limits.list(search=MAILS).rows or []
    print("units left:", limit.value, "of", limit.limit_value)
