"""The page that a browser gets while the dashboard is not part of the server: self-contained, without scripts."""

from __future__ import annotations

from html import escape

from hatchet.rest.ports import About

STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5; }
body { margin: 3rem auto; max-width: 40rem; padding: 0 1rem; }
dt { font-weight: 600; }
dd { margin: 0 0 .6rem; }
code { font-family: ui-monospace, monospace; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Hatchet server</title>
<style>{style}</style>
</head>
<body>
<h1>The Hatchet server is running</h1>
<dl>
<dt>Version</dt><dd>{version}</dd>
<dt>gRPC address for workers and clients</dt><dd><code>{grpc}</code></dd>
<dt>Connected workers</dt><dd>{workers}</dd>
</dl>
<p>The dashboard's views of runs, workers and schedules are not part of this version. Runs are created, followed and
cancelled with the SDK; <code>hatchet server logs</code> shows what the server does.</p>
<ul>
{links}
</ul>
</body>
</html>
"""


def render(about: About, connected_workers: int | None) -> str:
    """The page; ``connected_workers`` None when the database does not answer."""
    workers = "unknown: the database does not answer" if connected_workers is None else str(connected_workers)
    links = {"/api/ready": "readiness of the API", "/api/v1/meta": "server settings", "/api/v1/version": "version"}
    if about.health_port is not None:
        links["health"] = f"health probes: /live and /ready on port {about.health_port}"
    lines = [
        f"<li>{escape(text)}</li>" if path == "health" else f'<li><a href="{path}">{escape(text)}</a></li>'
        for path, text in links.items()
    ]
    return _PAGE.format(
        style=STYLE,
        version=escape(about.version),
        grpc=escape(about.grpc_address),
        workers=escape(workers),
        links="\n".join(lines),
    )
