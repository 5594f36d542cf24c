"""Logging: one line per event, as JSON or for the console, without secrets; the standard library's loggers included.

Secrets are taken out by the name of a value (``token``, ``password``, ...) and by shape: API tokens and the passwords
of connection texts are replaced wherever they appear, exception texts included.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from hatchet.core.errors import InvalidArgument

FORMATS = ("json", "console")
LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
REDACTED = "***"

_SECRET_NAME = re.compile(r"token|passw|secret|authorization|cookie|api_?key|private|credential|keyset", re.IGNORECASE)
_HARMLESS_NAME = re.compile(r"(_id|_ids|_count|_name|_path|_file|_seconds)$", re.IGNORECASE)
_TOKEN = re.compile(r"\bey[\w-]{8,}\.[\w-]+\.[\w-]*")
_URL_PASSWORD = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")
_BEARER = re.compile(r"\b(bearer|basic)\s+[^\s\"']+", re.IGNORECASE)
_NOISY = ("asyncio", "uvicorn", "uvicorn.error", "uvicorn.access", "grpc._cython.cygrpc")


def configure(*, format_name: str, level_name: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process; ``stream`` is standard output by default.

    Raises InvalidArgument for another format than ``json`` or ``console``, or an unknown level.
    """
    if format_name.lower() not in FORMATS:
        raise InvalidArgument(f'SERVER_LOGGER_FORMAT is "{format_name}"; it must be one of: {", ".join(FORMATS)}.')
    if level_name.lower() not in LEVELS:
        raise InvalidArgument(f'SERVER_LOGGER_LEVEL is "{level_name}"; it must be one of: {", ".join(LEVELS)}.')
    shared = _shared()
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout if stream is None else stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(format_name.lower()))
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[level_name.lower()])
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor that takes secrets out of every value, also inside mappings and lists."""
    return {name: _clean(name, value) for name, value in event.items()}


def one_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """A structlog processor that renders ``time LEVEL logger: message name=value ...``, always on one line."""
    time = event.pop("timestamp", "")
    level = str(event.pop("level", "")).upper()
    message = _escaped(str(event.pop("event", "")))
    source = event.pop("logger", "")
    values = " ".join(f"{name}={_shown(value)}" for name, value in event.items())
    return f"{time} {level:<7} {source}: {message} {values}".rstrip()


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _rendering(format_name: str) -> list[Processor]:
    first: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
    ]
    return [*first, _as_json] if format_name == "json" else [*first, one_line]


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    first = {"time": event.pop("timestamp", None), "level": event.pop("level", None), "message": event.pop("event", "")}
    return orjson.dumps({**first, **event}, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _clean(name: object, value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _clean(key, inner) for key, inner in value.items()}
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(name, str) and _SECRET_NAME.search(name) and not _HARMLESS_NAME.search(name):
        return REDACTED
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(None, inner) for inner in value]
    return _clean_text(value if isinstance(value, str) else str(value))


def _clean_text(text: str) -> str:
    text = _TOKEN.sub(REDACTED, text)
    text = _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text)
    return _BEARER.sub(rf"\1 {REDACTED}", text)


def _shown(value: object) -> str:
    text = _escaped(str(value))
    return f'"{text}"' if " " in text or not text else text


def _escaped(text: str) -> str:
    return (
        text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") if "\n" in text or "\r" in text else text
    )
