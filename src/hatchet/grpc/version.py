"""The version that clients choose their protocol by (behaviour-core C-2.1 to C-2.3)."""

from __future__ import annotations

from hatchet import __version__

# Everything up to here is served: slot_config (v0.78.23). Not yet: the durable stream (v0.80.0).
PROTOCOL_VERSION = "v0.79.0"

ENGINE_VERSION = f"{PROTOCOL_VERSION}-python.{__version__}"
"""Answer of GetVersion; clients ignore what follows the hyphen."""
