"""Push events for worker.py, which prints what they start. The worker must be running."""

from worker import hatchet, thank

from hatchet_sdk import BulkPushEventWithMetadata

if __name__ == "__main__":
    # Each filter that is true starts a run of its own. This one is about another shop.
    large = thank.create_filter(expression="input.total >= 1000", scope="shop-2", payload={"gift": "a bicycle"})
    events = [
        BulkPushEventWithMetadata(key="order:paid", payload={"id": "A", "total": 99}, scope="shop-1"),
        BulkPushEventWithMetadata(key="order:paid", payload={"id": "B", "total": 100}, scope="shop-1"),
        BulkPushEventWithMetadata(key="order:paid", payload={"id": "C", "total": 100}, scope="shop-2"),
        BulkPushEventWithMetadata(key="order:paid", payload={"id": "D", "total": 1000}, scope="shop-2"),
    ]
    print("pushed:", len(hatchet.event.bulk_push(events)))
    hatchet.filters.delete(large.metadata.id)
    hatchet.event.push("order:sent", {"id": "B"})
    print("filters left:", [row.scope for row in hatchet.filters.list(workflow_ids=[thank.id]).rows or []])
