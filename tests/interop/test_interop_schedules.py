"""Crons that code declares or clients create, and runs that are scheduled for one time."""

from __future__ import annotations

from typing import Any

import pytest
from official_session import Session

from support.program import wait_until

pytestmark = pytest.mark.interop

HOUR = 3600.0


def cron(session: Session, text: str) -> str:
    """A cron that adds a line to ``ticks-<text>`` every second; its id."""
    options = {"additional_metadata": {"made": text}, "priority": 3}
    cron_id: str = session.client.ask("create_cron", "ticks", text, "* * * * * *", {"text": text}, options)
    return cron_id


def test_c_14_12_a_cron_of_every_second_runs_until_it_is_deleted(session: Session) -> None:
    first = cron(session, "first")
    lines = session.await_lines("ticks-first", 3)
    assert lines[2]["at"] - lines[0]["at"] == pytest.approx(2.0, abs=1.0)
    planned = [line["metadata"]["hatchet__cron_scheduled_at"] for line in lines]
    assert len(set(planned)) == len(planned)  # C-14.9
    # C-4.25
    assert (
        lines[0]["metadata"].items()
        >= {
            "made": "first",
            "hatchet__cron_expression": "* * * * * *",
            "hatchet__cron_name": "first",
        }.items()
    )
    assert lines[0]["priority"] == 3
    assert session.client.ask("crons", "ticks") == {first: ["first", "* * * * * *", "API", 3]}
    session.client.ask("delete_cron", first)
    # The next cron shows how time passes.
    second = cron(session, "second")
    session.await_lines("ticks-second", 1)
    count = len(session.lines("ticks-first"))
    session.await_lines("ticks-second", 3)
    assert len(session.lines("ticks-first")) == count
    session.client.ask("delete_cron", second)
    assert session.client.ask("crons", "ticks") == {}


def test_c_14_5_a_name_and_its_expression_are_there_once(session: Session) -> None:
    arguments = ("ticks", "new-year", "0 0 1 1 *", {"text": "x"}, {"additional_metadata": {}})
    cron_id = session.client.ask("create_cron", *arguments)
    error = session.client.fails("create_cron", *arguments)
    assert error.type == "BadRequestException"
    assert "cron trigger with that name-expression pair already exists" in error.text
    session.client.ask("delete_cron", cron_id)


def test_c_14_13_a_declared_cron_runs_now_with_its_input(session: Session) -> None:
    declared = session.client.ask("crons", "yearly")
    # C-14.4, C-14.16: one row for each expression, however often workers registered it.
    assert sorted(declared.values(), key=str) == [
        ["", "0 0 1 1 *", "DEFAULT", 2],
        ["", "30 12 29 2 *", "DEFAULT", 2],
    ]
    run_id = session.trigger_cron(next(iter(declared)))
    result = session.client.ask("aio_result_of", "yearly", run_id)
    assert (result["text"], result["priority"]) == ("declared", 2)


def rows(session: Session, group: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = session.client.ask("scheduled", "on_schedule", {"group": group})
    return found


@pytest.mark.parametrize("made_by", ["schedule", "create_scheduled"])
def test_c_14_17_a_scheduled_run_is_listed_and_runs_at_its_time(session: Session, made_by: str) -> None:
    """Made over gRPC with a priority, or over REST."""
    metadata = {"group": made_by, "who": "me"}
    text = f"due-{made_by}"
    if made_by == "schedule":
        options = {"additional_metadata": metadata, "priority": 3}
        scheduled = session.client.ask("schedule", "on_schedule", {"text": text}, 1.5, options)
    else:
        scheduled = session.client.ask("create_scheduled", "on-schedule", {"text": text}, 1.5, metadata)
    [(listed, row)] = rows(session, made_by).items()
    assert listed == scheduled
    assert row["input"] == {"text": text}
    assert row["metadata"].items() >= metadata.items()
    assert row["in"] == pytest.approx(1.5, abs=1.0)
    assert not session.lines(f"ticks-{text}")
    [line] = session.await_lines(f"ticks-{text}", 1)
    assert line["metadata"].items() >= metadata.items()  # C-14.28
    assert line["priority"] == (3 if made_by == "schedule" else 1)  # C-14.20
    # C-14.25: another id than that of the entry.
    [row] = rows(session, made_by).values()
    assert session.client.ask("aio_result_of", "on_schedule", row["run_id"])["text"] == text
    assert row["run_id"] != scheduled
    # C-14.26
    assert session.client.fails("delete_scheduled", scheduled).type == "BadRequestException"


def test_c_14_26_times_change_until_a_run_starts(session: Session) -> None:
    metadata = {"group": "changes"}
    names = ["sooner", "deleted", "bulk-sooner", "bulk-deleted", "stays"]
    ids = {
        name: session.client.ask("create_scheduled", "on-schedule", {"text": name}, HOUR, metadata) for name in names
    }
    assert set(rows(session, "changes")) == set(ids.values())
    session.client.ask("delete_scheduled", ids["deleted"])
    assert session.client.ask("bulk_delete_scheduled", [ids["bulk-deleted"]]) == [[ids["bulk-deleted"]], []]
    session.client.ask("reschedule", ids["sooner"], 0.2)
    updated, refused = session.client.ask("bulk_reschedule", [ids["bulk-sooner"], ids["deleted"]], 0.2)
    assert (updated, refused) == ([ids["bulk-sooner"]], [ids["deleted"]])
    for name in ("sooner", "bulk-sooner"):
        session.await_lines(f"ticks-{name}", 1)
    left = rows(session, "changes")
    assert set(left) == {ids["sooner"], ids["bulk-sooner"], ids["stays"]}
    assert left[ids["stays"]]["run_id"] is None
    session.client.ask("bulk_delete_scheduled", [ids["stays"]])
    wait_until(lambda: ids["stays"] not in rows(session, "changes"), "the last one is deleted")


def test_c_14_22_a_time_that_has_passed_is_now(session: Session) -> None:
    session.client.ask("schedule", "on_schedule", {"text": "late"}, -HOUR, {"additional_metadata": {"group": "late"}})
    assert len(session.await_lines("ticks-late", 1)) == 1
