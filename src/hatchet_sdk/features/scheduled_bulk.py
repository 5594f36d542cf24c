"""Many scheduled runs at once: delete and reschedule (behaviour-rest R-16.6, R-16.7)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.features.rest_feature import RestFeature
from hatchet_sdk.features.rest_models import metadata_items, time_text
from hatchet_sdk.features.scheduled_models import (
    ScheduledFilter,
    ScheduledRunStatus,
    ScheduledWorkflowsBulkDeleteResponse,
    ScheduledWorkflowsBulkUpdateItem,
    ScheduledWorkflowsBulkUpdateResponse,
    ScheduledWorkflowsList,
)

if TYPE_CHECKING:
    from hatchet_sdk.run.call import Call

IDS_IN_A_REQUEST = 500
PAGE = 500


class ScheduledInBulk(RestFeature):
    """The part of `ScheduledClient` for many scheduled runs."""

    def bulk_delete(
        self,
        *,
        scheduled_ids: list[str] | None = None,
        workflow_id: str | None = None,
        parent_workflow_run_id: str | None = None,
        parent_step_run_id: str | None = None,
        statuses: list[ScheduledRunStatus] | None = None,
        additional_metadata: dict[str, Any] | None = None,
    ) -> ScheduledWorkflowsBulkDeleteResponse:
        """Delete scheduled runs by id, in requests of up to 500, or all for which everything else that is given holds.

        What cannot be deleted is listed in `errors` of the answer and hinders nothing.

        Raises:
            ValueError: neither ids nor anything else is given, or both.
        """
        return self._bulk_delete(
            scheduled_ids,
            ScheduledFilter(
                workflow_id=workflow_id,
                parent_workflow_run_id=parent_workflow_run_id,
                parent_step_run_id=parent_step_run_id,
                statuses=statuses,
                additional_metadata=metadata_items(additional_metadata),
            ),
        ).block()

    async def aio_bulk_delete(
        self,
        *,
        scheduled_ids: list[str] | None = None,
        workflow_id: str | None = None,
        parent_workflow_run_id: str | None = None,
        parent_step_run_id: str | None = None,
        statuses: list[ScheduledRunStatus] | None = None,
        additional_metadata: dict[str, Any] | None = None,
    ) -> ScheduledWorkflowsBulkDeleteResponse:
        """Like `bulk_delete`, for async code."""
        return await self._bulk_delete(
            scheduled_ids,
            ScheduledFilter(
                workflow_id=workflow_id,
                parent_workflow_run_id=parent_workflow_run_id,
                parent_step_run_id=parent_step_run_id,
                statuses=statuses,
                additional_metadata=metadata_items(additional_metadata),
            ),
        ).wait()

    def bulk_update(
        self, updates: list[ScheduledWorkflowsBulkUpdateItem] | list[tuple[str, datetime]]
    ) -> ScheduledWorkflowsBulkUpdateResponse:
        """Give scheduled runs other times, in requests of up to 500.

        What cannot be changed is listed in `errors` of the answer and hinders nothing.

        Args:
            updates: items, or pairs of an id and a time.

        Raises:
            TypeError: an update is neither.
        """
        return self._bulk_update(updates).block()

    async def aio_bulk_update(
        self, updates: list[ScheduledWorkflowsBulkUpdateItem] | list[tuple[str, datetime]]
    ) -> ScheduledWorkflowsBulkUpdateResponse:
        """Like `bulk_update`, for async code."""
        return await self._bulk_update(updates).wait()

    # --- requests ------------------------------------------------------------------------------------------------

    def _bulk_delete(
        self, ids: list[str] | None, chosen: ScheduledFilter
    ) -> Call[ScheduledWorkflowsBulkDeleteResponse, ScheduledWorkflowsBulkDeleteResponse]:
        members = chosen.members()
        if ids is None and not members:
            raise ValueError(
                "bulk_delete needs scheduled_ids or at least one of workflow_id, parent_workflow_run_id, "
                "parent_step_run_id, statuses and additional_metadata"
            )
        if ids is not None and members:
            raise ValueError(f"bulk_delete takes scheduled_ids or a filter, not both: {', '.join(members)} given too")
        if ids is not None:
            return self._work(self._delete_ids(ids))
        if "statuses" in members:
            # The request knows no statuses, the list does.
            return self._work(self._delete_listed(members))
        return self._work(self._delete_matching(members))

    async def _delete_matching(self, members: dict[str, Any]) -> ScheduledWorkflowsBulkDeleteResponse:
        path = self._path("workflows/scheduled/bulk-delete")
        answer = await self._client.rest.call(HTTPMethod.POST, path, body={"filter": members})
        return ScheduledWorkflowsBulkDeleteResponse.model_validate(answer)

    async def _delete_listed(self, members: dict[str, Any]) -> ScheduledWorkflowsBulkDeleteResponse:
        ids: list[str] = []
        while True:
            query = {**members, "offset": len(ids), "limit": PAGE}
            answer = await self._client.rest.call(HTTPMethod.GET, self._path("workflows/scheduled"), query=query)
            rows = ScheduledWorkflowsList.model_validate(answer).rows or []
            # Not until a short page: the server may give less at a time than it is asked for.
            if not rows:
                return await self._delete_ids(list(dict.fromkeys(ids)))
            ids += [row.metadata.id for row in rows]

    async def _delete_ids(self, ids: Sequence[str]) -> ScheduledWorkflowsBulkDeleteResponse:
        done = ScheduledWorkflowsBulkDeleteResponse(deleted_ids=[], errors=[])
        path = self._path("workflows/scheduled/bulk-delete")
        for start in range(0, len(ids), IDS_IN_A_REQUEST):
            body = {"scheduledWorkflowRunIds": list(ids[start : start + IDS_IN_A_REQUEST])}
            answer = await self._client.rest.call(HTTPMethod.POST, path, body=body)
            part = ScheduledWorkflowsBulkDeleteResponse.model_validate(answer)
            done.deleted_ids += part.deleted_ids
            done.errors += part.errors
        return done

    def _bulk_update(
        self, updates: list[ScheduledWorkflowsBulkUpdateItem] | list[tuple[str, datetime]]
    ) -> Call[ScheduledWorkflowsBulkUpdateResponse, ScheduledWorkflowsBulkUpdateResponse]:
        return self._work(self._update_items([_item(update) for update in updates]))

    async def _update_items(self, items: Sequence[dict[str, str]]) -> ScheduledWorkflowsBulkUpdateResponse:
        done = ScheduledWorkflowsBulkUpdateResponse(updated_ids=[], errors=[])
        path = self._path("workflows/scheduled/bulk-update")
        for start in range(0, len(items), IDS_IN_A_REQUEST):
            body = {"updates": items[start : start + IDS_IN_A_REQUEST]}
            answer = await self._client.rest.call(HTTPMethod.POST, path, body=body)
            part = ScheduledWorkflowsBulkUpdateResponse.model_validate(answer)
            done.updated_ids += part.updated_ids
            done.errors += part.errors
        return done


def _item(update: ScheduledWorkflowsBulkUpdateItem | tuple[str, datetime]) -> dict[str, str]:
    if isinstance(update, ScheduledWorkflowsBulkUpdateItem):
        scheduled_id, at = update.id, update.trigger_at
    elif isinstance(update, tuple) and len(update) == 2:
        scheduled_id, at = update
    else:
        raise TypeError(f"bulk_update takes pairs of an id and a time, got {update!r}")
    return {"id": scheduled_id, "triggerAt": time_text(at, f"the time of '{scheduled_id}'")}
