"""The version that clients choose their protocol by (behaviour-core C-2.1 to C-2.3)."""

from __future__ import annotations

from hatchet import __version__

# What clients switch on by it is all served: slot configuration, the durable stream, batches, retry-after (D-1.2).
PROTOCOL_VERSION = "v0.111.0"

ENGINE_VERSION = f"{PROTOCOL_VERSION}-python.{__version__}"
"""Answer of GetVersion; clients ignore what follows the hyphen."""
