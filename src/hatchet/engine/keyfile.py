"""Where an instance gets its key set: from the settings, else from a file that the first start creates.

The file is readable by its owner only, appears at once with its whole content, and two processes that start together
end up with the same keys.
"""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import structlog

from hatchet.core.errors import FailedPrecondition, InvalidArgument
from hatchet.engine.keys import KeySet, generate, parse_key_set, parse_public_keys, to_json

FILE_NAME = "jwt_keyset.json"
PRIVATE_VARIABLE = "SERVER_ENCRYPTION_JWT_PRIVATE_KEYSET"
PUBLIC_VARIABLE = "SERVER_ENCRYPTION_JWT_PUBLIC_KEYSET"

_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}

log = structlog.stdlib.get_logger("hatchet.keys")


@dataclass(slots=True, frozen=True, kw_only=True)
class KeySource:
    """The four settings that name a key set, and the folder of the generated one. Empty text means "not set"."""

    directory: Path
    private_text: str = ""
    private_file: str = ""
    public_text: str = ""
    public_file: str = ""

    @property
    def is_configured(self) -> bool:
        """Whether the operator named a key set, so that several instances can share it."""
        return bool(self.private_text or self.private_file)


def load(source: KeySource) -> KeySet:
    """The key set of this instance.

    A text wins over a file; public key sets add keys that only verify. Raises InvalidArgument for a key set that cannot
    be read and FailedPrecondition when the generated file cannot be read or written; both say what to do.
    """
    if source.private_text:
        keys = parse_key_set(source.private_text, source=PRIVATE_VARIABLE)
    elif source.private_file:
        name = f"{PRIVATE_VARIABLE}_FILE ({source.private_file})"
        keys = parse_key_set(_read_configured(source.private_file, name), source=name)
    else:
        keys = load_or_create(source.directory)
    if source.public_text:
        return keys.with_keys(parse_public_keys(source.public_text, source=PUBLIC_VARIABLE))
    if source.public_file:
        name = f"{PUBLIC_VARIABLE}_FILE ({source.public_file})"
        return keys.with_keys(parse_public_keys(_read_configured(source.public_file, name), source=name))
    return keys


def load_or_create(directory: Path) -> KeySet:
    """The key set in ``directory``, created when there is none."""
    path = directory / FILE_NAME
    try:
        if not path.exists():
            _make_private_directory(directory)
            if write_new(path, to_json(generate(), private=True)):
                log.info("created the key set that signs API tokens", path=str(path))
        _tighten(path)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FailedPrecondition(
            f"cannot read or create the key set {path}: {error.strerror or error}. Make the folder writable for this "
            f"user, choose another data directory, or name a key set in {PRIVATE_VARIABLE}_FILE."
        ) from error
    return parse_key_set(text, source=str(path))


def write_new(path: Path, text: str) -> bool:
    """Write a file of mode 0600 that appears complete or not at all; False when another process was first."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        return _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> bool:
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some mounted file systems know no hard links: there the later of two simultaneous starts may replace the file.
        if path.exists():
            return False
        draft.replace(path)
    return True


def _make_private_directory(directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(mode=0o700, exist_ok=True)


def _tighten(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        log.warning("the key set was readable by others; now only by its owner", path=str(path), mode=oct(mode))
        path.chmod(0o600)


def _read_configured(file: str, name: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidArgument(f"{name} cannot be read: {reason}.") from error
