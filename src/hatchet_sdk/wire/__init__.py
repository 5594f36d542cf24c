"""The connection to the engine: one thread, one channel per client, one typed method per RPC."""

import os

# grpc reads this once, when it is first imported; its own fork handlers warn at every fork and may hang.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", os.environ.get("HATCHET_CLIENT_GRPC_ENABLE_FORK_SUPPORT", "false"))
