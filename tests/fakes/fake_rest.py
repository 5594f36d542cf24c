"""A REST API of the tests' making: answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request. `query` has the values of each parameter in their order; `raw_path` is as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: Any
    token: str
    raw_path: str


class FakeRest:
    """Answers 200 with an empty object unless told otherwise with `answer`.

    `patches` are the path and body of every PATCH: how a worker tells that it stops (behaviour-core C-2.37).
    """

    def __init__(self) -> None:
        self.requests: list[Asked] = []
        self._answers: deque[tuple[int, str]] = deque()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_PATCH(self) -> None:
                size = int(self.headers["Content-Length"] or 0)
                text = self.rfile.read(size)
                url = urlsplit(self.path)
                fake.requests.append(
                    Asked(
                        method=self.command,
                        path=unquote(url.path),
                        query=parse_qs(url.query),
                        body=json.loads(text) if text else None,
                        token=self.headers["Authorization"],
                        raw_path=url.path,
                    )
                )
                status, answer = fake._answers.popleft() if fake._answers else (200, "{}")
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.encode())))
                self.end_headers()
                self.wfile.write(answer.encode())

            do_GET = do_POST = do_DELETE = do_PATCH

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def answer(self, body: object = None, status: int = 200) -> None:
        """The next answer, after those that were ordered before: an object as JSON, a text as it is, None for none."""
        text = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        self._answers.append((status, text))

    @property
    def last(self) -> Asked:
        return self.requests[-1]

    @property
    def patches(self) -> list[tuple[str, Any]]:
        return [(asked.path, asked.body) for asked in self.requests if asked.method == "PATCH"]

    @property
    def tokens(self) -> list[str]:
        return [asked.token for asked in self.requests]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
