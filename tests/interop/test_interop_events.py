"""Events that start runs: patterns, filters of every kind, in bulk."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from official_session import Session

pytestmark = pytest.mark.interop

KEY = "filtered:go"


def push(session: Session, tag: str, key: str = KEY, *, should_skip: bool = False, **options: Any) -> str:
    """Push an event whose runs leave their lines at ``event-<tag>``; its id."""
    event_id: str = session.client.ask("push", key, {"tag": tag, "should_skip": should_skip}, options)
    return event_id


def lines_after(session: Session, tag: str, fence: str) -> list[dict[str, Any]]:
    """The lines of ``tag``, once an event that was pushed later has started its run."""
    push(session, fence, "pattern:fence")
    session.await_lines(f"event-{fence}", 1)
    return session.lines(f"event-{tag}")


def test_c_12_12_a_pattern_matches_what_begins_like_it(session: Session) -> None:
    push(session, "not-matched", "foobar")
    push(session, "not-matched", "my-pattern:1")
    ids = [push(session, f"matched-{n}", f"pattern:{n}", additional_metadata={"n": n}) for n in (1, 2)]
    for n, event_id in zip((1, 2), ids, strict=True):
        [line] = session.await_lines(f"event-matched-{n}", 1)
        assert line["by_event"] is True  # C-12.31
        # C-12.30: the event's own metadata, and its id.
        assert line["metadata"].items() >= {"n": n, "hatchet__event_id": event_id}.items()
    assert lines_after(session, "not-matched", "fence-pattern") == []


def test_c_12_27_a_declared_filter_gives_its_payload_to_every_task(session: Session) -> None:
    push(session, "declared", scope="declared")
    [line] = session.await_lines("event-declared", 1)
    assert line["filter"] == line["filter_above"] == {"kind": "declared", "deep": {"list": [1, "zwei", None]}}
    assert line["by_event"] is True
    push(session, "declared-skip", should_skip=True, scope="declared")
    [line] = session.await_lines("event-declared-skip", 1)
    assert line["filter"] == {"kind": "skipping"}
    declared = session.client.ask("filters", "filtered").values()
    assert [row[0] for row in declared if row[3]] == ["declared", "declared"]


def test_c_12_19_each_filter_that_is_true_starts_a_run(session: Session) -> None:
    ids = [
        session.client.ask("create_filter", "filtered", "input.tag.startsWith('each')", "each", {"filter_id": n})
        for n in (1, 2)
    ]
    push(session, "each", scope="each")
    lines = session.await_lines("event-each", 2)
    assert sorted(line["filter"]["filter_id"] for line in lines) == [1, 2]
    listed = session.client.ask("filters", "filtered")
    assert [listed[each] for each in ids] == [
        ["each", "input.tag.startsWith('each')", {"filter_id": n}, False] for n in (1, 2)
    ]
    # C-12.28: what is deleted counts no more for what is pushed then.
    session.client.ask("delete_filter", ids[0])
    push(session, "each-later", scope="each")
    [line] = session.await_lines("event-each-later", 1)
    assert line["filter"] == {"filter_id": 2}
    assert len(lines_after(session, "each", "fence-each")) == 2


def test_c_12_21_an_expression_reads_input_and_payload(session: Session) -> None:
    expression = "input.should_skip == false && payload.foobar == 'baz'"
    session.client.ask("create_filter", "filtered", expression, "qux", {"foobar": "qux"})
    session.client.ask("create_filter", "filtered", expression, "baz", {"foobar": "baz"})
    push(session, "foobar-qux", scope="qux")
    push(session, "foobar-baz", scope="baz")
    [line] = session.await_lines("event-foobar-baz", 1)
    assert line["filter"] == {"foobar": "baz"}
    assert lines_after(session, "foobar-qux", "fence-foobar") == []


def test_c_12_22_each_of_a_hundred_has_one_run(session: Session) -> None:
    for scope in ("a", "b"):
        session.client.ask("create_filter", "filtered", "true", f"bulk-{scope}", {"scope": scope})
    scopes = ["ab"[n % 2] for n in range(100)]
    events = [
        {"key": KEY, "payload": {"tag": "bulk"}, "scope": f"bulk-{scope}", "additional_metadata": {"n": n}}
        for n, scope in enumerate(scopes)
    ]
    ids = session.client.ask("push_many", events)
    lines = session.await_lines("event-bulk", 100)
    seen = {line["metadata"]["n"]: (line["filter"]["scope"], line["metadata"]["hatchet__event_id"]) for line in lines}
    # C-12.3: the answer is in the order of the request.
    assert seen == {n: (scope, ids[n]) for n, scope in enumerate(scopes)}
    assert len(lines_after(session, "bulk", "fence-bulk")) == 100


def test_c_12_23_scope_input_and_key_must_all_be_right(session: Session) -> None:
    session.client.ask("create_filter", "filtered", "input.should_skip == false", "table", {})
    table = list(itertools.product([None, "table"], [False, True], [KEY, "filtered:stop"]))
    for scope, should_skip, key in table:
        options = {"scope": scope} if scope else {}
        push(session, f"table-{scope}-{should_skip}-{key}", key, should_skip=should_skip, **options)
    session.await_lines(f"event-table-table-False-{KEY}", 1)
    lines_after(session, "", "fence-table")
    runs = {each: len(session.lines("event-table-{}-{}-{}".format(*each))) for each in table}
    assert runs == {each: int(each == ("table", False, KEY)) for each in table}
