"""postgresql.conf for a server that shares a machine with the engine and writes much more than it reads."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

CUSTOM_FILE = "custom.conf"
CUSTOM_TEXT = "# Your settings for the embedded PostgreSQL server; they win over those of postgresql.conf.\n"

_MB = 1024 * 1024


def memory_settings(total_bytes: int) -> dict[str, str]:
    """Shares of the machine's memory: the whole data set of a queue is small, so the caches stay modest."""
    megabytes = total_bytes // _MB
    return {
        "shared_buffers": f"{_between(32, megabytes // 16, 256)}MB",
        "effective_cache_size": f"{max(128, megabytes // 2)}MB",
        "maintenance_work_mem": f"{_between(16, megabytes // 64, 128)}MB",
        "work_mem": f"{_between(4, megabytes // 512, 16)}MB",
    }


def server_settings(*, socket_directory: str, port: int, extra: Mapping[str, str]) -> dict[str, str]:
    """Every setting that differs from PostgreSQL's own, ``extra`` last.

    An empty ``socket_directory`` means TCP on the loop-back address.
    """
    return {
        "listen_addresses": "" if socket_directory else "127.0.0.1",
        "unix_socket_directories": socket_directory,
        "unix_socket_permissions": "0700",
        "port": str(port),
        "max_connections": "100",
        **memory_settings(psutil.virtual_memory().total),
        # Bursts of appends: few, spread checkpoints, so that a page is written whole only rarely.
        "max_wal_size": "2GB",
        "min_wal_size": "256MB",
        "checkpoint_timeout": "15min",
        "wal_buffers": "16MB",
        "jit": "off",
        "autovacuum": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "lc_messages": "C",
        "log_line_prefix": "%m [%p] ",
        "log_checkpoints": "off",
        "log_statement": "none",
        # A statement's text can carry users' payloads and password hashes.
        "log_min_error_statement": "panic",
        "log_parameter_max_length_on_error": "0",
        **extra,
    }


def as_file(settings: Mapping[str, str]) -> str:
    """The text of postgresql.conf. A user's own settings go to custom.conf beside it, or through ALTER SYSTEM."""
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    head = f"# Written by hatchet at each start; put your own settings into {CUSTOM_FILE}.\n"
    return head + "\n".join(lines) + f"\ninclude_if_exists = '{CUSTOM_FILE}'\n"


def _between(low: int, value: int, high: int) -> int:
    return max(low, min(value, high))
