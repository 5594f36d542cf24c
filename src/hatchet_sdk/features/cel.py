"""`hatchet.cel`: try out a CEL expression as filters use it (behaviour-rest R-18.6)."""

# ruff: noqa: A002  # `input` is the documented name

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from hatchet_sdk.config import HTTPMethod
from hatchet_sdk.features.rest_feature import RestFeature, json_object

if TYPE_CHECKING:
    from hatchet_sdk.run.call import Call


class CELSuccess(BaseModel):
    """The expression has a value."""

    status: Literal["success"] = "success"
    output: bool


class CELFailure(BaseModel):
    """The expression does not compile, misses something in the data, or gives something else than true or false."""

    status: Literal["failure"] = "failure"
    error: str


class CELEvaluationResult(BaseModel):
    """What became of an expression."""

    result: CELSuccess | CELFailure


class CELClient(RestFeature):
    """Expressions. Every method raises `ApiException` when the server refuses or cannot be reached."""

    def debug(
        self,
        expression: str,
        input: dict[str, Any],
        additional_metadata: dict[str, Any] | None = None,
        filter_payload: dict[str, Any] | None = None,
    ) -> CELEvaluationResult:
        """What `expression` gives for an event with this payload and metadata, in a filter with this payload.

        The variables are `input`, `additional_metadata` and `payload`. Raises ``TypeError`` for data that cannot become
        JSON objects.
        """
        return self._debug(expression, input, additional_metadata, filter_payload).block()

    async def aio_debug(
        self,
        expression: str,
        input: dict[str, Any],
        additional_metadata: dict[str, Any] | None = None,
        filter_payload: dict[str, Any] | None = None,
    ) -> CELEvaluationResult:
        """Like `debug`, for async code."""
        return await self._debug(expression, input, additional_metadata, filter_payload).wait()

    def _debug(
        self,
        expression: str,
        input: dict[str, Any],
        metadata: dict[str, Any] | None,
        payload: dict[str, Any] | None,
    ) -> Call[Any, CELEvaluationResult]:
        body: dict[str, Any] = {"expression": expression, "input": json_object(input, "input")}
        if metadata is not None:
            body["additionalMetadata"] = json_object(metadata, "additional_metadata")
        if payload is not None:
            body["filterPayload"] = json_object(payload, "filter_payload")
        return self._ask(HTTPMethod.POST, self._path("cel/debug", stable=True), _result, body=body)


def _result(answer: dict[str, Any]) -> CELEvaluationResult:
    if answer.get("status") == "SUCCESS":
        return CELEvaluationResult(result=CELSuccess(output=answer["output"]))
    return CELEvaluationResult(result=CELFailure(error=answer.get("error") or "the expression has no value"))
