"""Our own description of the routes, by the names of the contract."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI


class Api(FastAPI):
    """The names of path parameters in the contract have hyphens, which those of routes cannot have."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        paths = {_hyphens(path): methods for path, methods in document["paths"].items()}
        for methods in paths.values():
            for method in methods.values():
                for parameter in method.get("parameters", ()):
                    if parameter["in"] == "path":
                        parameter["name"] = parameter["name"].replace("_", "-")
        return {**document, "paths": paths}


def _hyphens(path: str) -> str:
    return re.sub(r"\{[^}]*\}", lambda name: name[0].replace("_", "-"), path)
