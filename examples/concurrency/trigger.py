"""Start many runs for one user and then one for another, and see who waited for whom. The worker must be running."""

from itertools import pairwise

from worker import Report, print_report

if __name__ == "__main__":
    reports = [Report(user="ann", page=page) for page in range(1, 6)] + [Report(user="bob", page=1)]
    results = print_report.run_many([print_report.create_bulk_run_item(input=report) for report in reports])
    *ann, bob = results
    one_by_one = all(earlier["ended"] <= later["began"] for earlier, later in pairwise(ann))
    print("ann's five pages were printed one after the other:", one_by_one)
    print("bob did not wait for them:", bob["began"] < ann[1]["began"])
