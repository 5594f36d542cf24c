"""Choosing ports, and reading the log of a server in the background."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hatchet.cli import log_tail, ports
from hatchet.core.errors import FailedPrecondition, InvalidArgument


@pytest.fixture
def used() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def choose(*, asked: int = 0, remembered: int | None = None, first: int = 8888, taken: tuple[int, ...] = ()) -> int:
    return ports.choose(asked=asked, remembered=remembered, first=first, flag="--grpc-port", taken=taken)


def test_asked_port_is_taken_or_refused_by_name(used: int, free: int) -> None:
    assert choose(asked=free) == free
    with pytest.raises(FailedPrecondition, match=f"port {used} .--grpc-port. is in use"):
        choose(asked=used)


@pytest.mark.parametrize("number", [-1, 65536, 100000])
def test_asked_number_must_be_a_port(number: int) -> None:
    with pytest.raises(InvalidArgument, match="1 to 65535"):
        choose(asked=number)


def test_asked_port_cannot_serve_twice(free: int) -> None:
    with pytest.raises(InvalidArgument, match="twice"):
        choose(asked=free, taken=(free,))


def test_r_37_1_remembered_port_wins_over_the_first_one(free: int) -> None:
    assert choose(remembered=free, first=1024) == free


def test_r_37_1_ports_in_use_or_spoken_for_are_passed_over(used: int) -> None:
    found = choose(remembered=used, first=used)
    assert found > used
    assert choose(first=found, taken=(found,)) > found


def test_port_held_by_ipv6_alone_is_not_free(free: int) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with socket.socket(socket.AF_INET6) as listener:
        try:
            listener.bind(("::1", free))
        except OSError:
            pytest.skip("this machine has no IPv6 loop-back address")
        listener.listen()
        assert not ports.is_free(free)


def test_last_lines_end_at_the_given_size(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("one\ntwo\nthree\n")
    size = log_tail.length(log)
    with log.open("a") as file:
        file.write("four\n")
    assert log_tail.last_lines(log, 2, size=size) == ["two", "three"]
    assert log_tail.last_lines(log, 0, size=size) == []
    assert log_tail.last_lines(tmp_path / "absent", 5, size=0) == []


def test_what_was_appended_is_told_from_what_was_there(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("old\n")
    with log.open("a") as file:
        file.write("a\nb\nc\n")
    assert log_tail.appended_since(log, 4, lines=2) == "b\nc"
    assert log_tail.appended_since(tmp_path / "absent", 0, lines=2) == ""


def test_following_gives_whole_lines_and_starts_anew_with_a_new_file(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("old\n")

    def append(text: str) -> None:
        with log.open("a") as file:
            file.write(text)

    def replace() -> None:
        log.rename(tmp_path / "engine.log.1")
        append("new file\n")

    steps: Iterator[Callable[[], None]] = iter([lambda: append("half"), lambda: append(" line\nnext\n"), replace])

    def ended() -> bool:
        step = next(steps, None)
        if step is None:
            return True
        step()
        return False

    assert list(log_tail.follow(log, size=4, ended=ended, poll_seconds=0)) == ["half line", "next", "new file"]


def test_large_log_is_moved_away(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("small")
    log_tail.rotate(log)
    assert log.exists()
    with log.open("ab") as file:
        file.truncate(log_tail.ROTATED_BYTES + 1)
    log_tail.rotate(log)
    assert not log.exists()
    assert (tmp_path / "engine.log.1").exists()
