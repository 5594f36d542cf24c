"""The database's schema, up and down, by several processes at once; and the program hatchet-migrate."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from hatchet.core.errors import FailedPrecondition, InvalidArgument, Unavailable
from hatchet.store.migrations import (
    LOCK_KEY,
    Migration,
    applied,
    known_migrations,
    migrate,
    migrate_down,
    read_migrations,
)

NAMES = [step.name for step in known_migrations()]

STEPS = (
    Migration("0001_pre_first", "CREATE TABLE a (x int)", "DROP TABLE a"),
    Migration("0002_pre_second", "CREATE TABLE b (x int); INSERT INTO a VALUES (1)", "DROP TABLE b"),
    Migration("0003_post_third", "ALTER TABLE a ADD y int", "ALTER TABLE a DROP y"),
)

CATALOGUE = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default, character_maximum_length
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "relations": """
        SELECT relname, relkind::text, reloptions, pg_get_partkeydef(oid)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1""",
    "types": """
        SELECT typname, typtype::text FROM pg_type WHERE typnamespace = 'public'::regnamespace
        AND typtype IN ('e', 'd', 'c') ORDER BY 1""",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
        WHERE NOT tgisinternal ORDER BY 1, 2""",
}


async def _catalogue(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    connection = await asyncpg.connect(dsn)
    try:
        return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in CATALOGUE.items()}
    finally:
        await connection.close()


async def test_up_makes_a_schema_and_names_what_it_did(empty_dsn: str) -> None:
    assert await applied(empty_dsn) == []
    assert await migrate(empty_dsn) == NAMES
    assert await applied(empty_dsn) == NAMES
    assert await migrate(empty_dsn) == []


async def test_down_and_up_again_leave_the_same_schema_after_every_step(empty_dsn: str) -> None:
    for count, name in enumerate(NAMES):
        before = await _catalogue(empty_dsn) if count else None
        assert await migrate(empty_dsn, up_to=name) == [name]
        after = await _catalogue(empty_dsn)
        assert await migrate_down(empty_dsn, NAMES[count - 1] if count else "0") == [name]
        if before is not None:
            assert await _catalogue(empty_dsn) == before
        assert await migrate(empty_dsn, up_to=name) == [name]
        assert await _catalogue(empty_dsn) == after


async def test_down_to_nothing_leaves_only_the_bookkeeping(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    assert await migrate_down(empty_dsn, "0") == NAMES[::-1]
    left = await _catalogue(empty_dsn)
    assert {row[0] for row in left["relations"]} == {"schema_migration", "schema_migration_pkey"}
    assert left["functions"] == []
    assert left["triggers"] == []


async def test_r_3_1_back_to_before_people_nobody_gets_more_rights(empty_dsn: str) -> None:
    await migrate(empty_dsn, up_to="0007")
    connection = await asyncpg.connect(empty_dsn)
    try:
        await connection.execute("""
            INSERT INTO tenant (id, name, slug, created_at) VALUES (gen_random_uuid(), 'one', 'one', now());
            INSERT INTO app_user (id, email, name, created_at)
            SELECT gen_random_uuid(), role, role, now() FROM unnest('{OWNER,MEMBER,VIEWER}'::text[]) AS role;
            INSERT INTO tenant_member (tenant_id, user_id, role, created_at)
            SELECT tenant.id, app_user.id, app_user.email, now() FROM tenant, app_user;
            INSERT INTO user_session (id, user_id, created_at, expires_at)
            SELECT id::text::bytea, id, now(), now() FROM app_user""")
        await migrate_down(empty_dsn, "0006")
        assert {row["role"] for row in await connection.fetch("SELECT role FROM tenant_member")} == {"OWNER", "MEMBER"}
        await migrate(empty_dsn, up_to="0007")
        rows = await connection.fetch("SELECT DISTINCT id, can_view_payloads FROM tenant_member")
        assert [row["can_view_payloads"] for row in rows] == [True, True]
    finally:
        await connection.close()


async def test_processes_that_start_together_all_succeed(empty_dsn: str) -> None:
    runs = await asyncio.gather(*(asyncio.to_thread(_program, DATABASE_URL=empty_dsn) for _ in range(4)))
    assert [run.returncode for run in runs] == [0] * 4, [run.stderr for run in runs]
    assert sorted(run.stdout.count("applied ") for run in runs) == [0, 0, 0, len(NAMES)]


async def test_up_to_and_down_take_numbers(empty_dsn: str) -> None:
    assert await migrate(empty_dsn, up_to="2", migrations=STEPS) == ["0001_pre_first", "0002_pre_second"]
    assert await migrate(empty_dsn, migrations=STEPS) == ["0003_post_third"]
    assert await migrate_down(empty_dsn, "0001", migrations=STEPS) == ["0003_post_third", "0002_pre_second"]
    assert await applied(empty_dsn) == ["0001_pre_first"]


@pytest.mark.parametrize("name", ["9", "0001_pre_other", "-1", "", "one"])
async def test_an_unknown_name_is_refused_and_changes_nothing(empty_dsn: str, name: str) -> None:
    with pytest.raises(InvalidArgument, match="there is no migration"):
        await migrate(empty_dsn, up_to=name, migrations=STEPS)
    with pytest.raises(InvalidArgument, match="0003_post_third"):
        await migrate_down(empty_dsn, name, migrations=STEPS)
    assert await applied(empty_dsn) == []


async def test_a_step_that_fails_leaves_no_trace_and_keeps_the_earlier_ones(empty_dsn: str) -> None:
    broken = (STEPS[0], replace(STEPS[1], up="CREATE TABLE b (x int); SELECT 1/0"), STEPS[2])
    with pytest.raises(FailedPrecondition, match="0002_pre_second failed and was rolled back: division by zero"):
        await migrate(empty_dsn, migrations=broken)
    assert await applied(empty_dsn) == ["0001_pre_first"]
    assert "b" not in {row[0] for row in (await _catalogue(empty_dsn))["relations"]}
    assert await migrate(empty_dsn, migrations=STEPS) == ["0002_pre_second", "0003_post_third"]


async def test_a_database_of_a_newer_server_is_refused(empty_dsn: str) -> None:
    await migrate(empty_dsn, migrations=STEPS)
    with pytest.raises(FailedPrecondition, match="newer version of this server: it has 0003_post_third"):
        await migrate(empty_dsn, migrations=STEPS[:2])
    with pytest.raises(FailedPrecondition, match="newer version"):
        await migrate_down(empty_dsn, "0", migrations=STEPS[:2])
    assert len(await applied(empty_dsn)) == 3


async def test_a_migration_that_hangs_is_named(empty_dsn: str) -> None:
    holder = await asyncpg.connect(empty_dsn, server_settings={"application_name": "the-other-one"})
    try:
        await holder.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        pid = holder.get_server_pid()
        with pytest.raises(FailedPrecondition, match=rf"process {pid} \(the-other-one\) has been migrating"):
            await migrate(empty_dsn, lock_timeout=0.05)
    finally:
        await holder.close()
    assert await migrate(empty_dsn) == NAMES


async def test_nobody_at_the_address() -> None:
    with pytest.raises(Unavailable, match="cannot reach the database"):
        await migrate("postgresql://somebody:very-secret@127.0.0.1:1/nowhere")


def test_files_must_come_in_pairs_with_a_number_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "0001_pre_one.up.sql").write_text("SELECT 1")
    with pytest.raises(ValueError, match="0001_pre_one"):
        read_migrations(tmp_path)
    (tmp_path / "0001_pre_one.down.sql").write_text("SELECT 1")
    assert [step.name for step in read_migrations(tmp_path)] == ["0001_pre_one"]
    for half in ("up", "down"):
        (tmp_path / f"0001_post_two.{half}.sql").write_text("SELECT 1")
    with pytest.raises(ValueError, match="number of its own"):
        read_migrations(tmp_path)


def _program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "SERVER_", "HATCHET_"))
    }
    code = "from hatchet.cli.migrate import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


async def test_the_program_migrates_an_external_database(empty_dsn: str) -> None:
    up = await asyncio.to_thread(_program, DATABASE_URL=empty_dsn)
    assert up.returncode == 0, up.stderr
    assert up.stdout.splitlines() == [*(f"applied {name}" for name in NAMES), f"The database is at {NAMES[-1]}."]
    down = await asyncio.to_thread(_program, "--down", "0", DATABASE_URL=empty_dsn)
    assert down.returncode == 0, down.stderr
    assert down.stdout.splitlines()[-1] == "The database is empty."
    assert await applied(empty_dsn) == []
    part = await asyncio.to_thread(_program, "--up-to-penultimate", DATABASE_URL=empty_dsn)
    assert part.returncode == 0, part.stderr
    assert await applied(empty_dsn) == NAMES[:-1]


def test_the_program_uses_the_embedded_database_when_none_is_named(tmp_path: Path) -> None:
    first = _program("--up-to", NAMES[0], HATCHET_DATA_DIR=str(tmp_path / "data"))
    assert first.stdout.splitlines()[0] == f"applied {NAMES[0]}", first.stderr
    again = _program("--up-to", "1", HATCHET_DATA_DIR=str(tmp_path / "data"))
    assert again.stdout.splitlines() == [f"The database is at {NAMES[0]}."], again.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("--down", "77"), {}, "there is no migration '77'"),
        (("--down", "1", "--up-to", "1"), {}, "exclude each other"),
        ((), {"DATABASE_URL": "mysql://root@db/x"}, "DATABASE_URL has a value that cannot be used"),
        ((), {"DATABASE_URL": "postgres://me:hidden@127.0.0.1:1/x"}, "cannot reach the database"),
    ],
)
def test_the_program_says_in_one_paragraph_what_is_wrong(
    arguments: tuple[str, ...], environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    result = _program(*arguments, **{"HATCHET_DATA_DIR": str(tmp_path / "data"), **environment})
    assert result.returncode == 1
    assert result.stdout == ""
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert "hidden" not in result.stderr
