"""The control plane: engine, store, front doors and programs."""

__version__ = "0.1.0"
