"""A server that speaks as much of the Hugging Face Hub's API as an upload of small files asks for."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class SmallHub:
    """Its repositories, by name: whether each is private, and its files; `token` is the one that it knows, and may write."""

    token: str = "hf_mine"
    may_write: bool = True
    address: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        if token != self.token:
            return 401, {"error": "Invalid username or password."}
        if path == "/api/whoami-v2":
            return 200, {"type": "user", "name": "me"}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if path == "/api/repos/create":
            return self._created(json.loads(body))
        name, _, rest = path.removeprefix("/api/models/").partition("/preupload/")
        if rest:
            files = [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in json.loads(body)["files"]]
            return 200, {"files": files}
        name, _, rest = name.partition("/commit/")
        if rest:
            for line in (json.loads(each) for each in body.splitlines()):
                if line["key"] == "file":
                    self.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            return 200, {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.address}/{name}/commit/{'0' * 40}"}
        if method == "GET" and name in self.private:
            return 200, {"id": name, "private": self.private[name], "sha": "0" * 40, "siblings": []}
        return 404, {"error": f"no {method} {path}"}

    def _created(self, asked: dict[str, Any]) -> tuple[int, Any]:
        if not self.may_write:
            return 403, {"error": "You don't have the rights to create a model under this namespace"}
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if name in self.private:
            return 409, {"error": "You already created this model repo", "url": f"{self.address}/{name}"}
        self.private[name], self.files[name] = asked.get("private", asked.get("visibility") == "private"), {}
        return 200, {"url": f"{self.address}/{name}", "name": name}


@contextmanager
def small_hub() -> Iterator[SmallHub]:
    """One that listens on this machine."""
    hub = SmallHub()

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, said = hub.answer(self.command, self.path.partition("?")[0], token, body)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if "error" in said:
                self.send_header("X-Error-Message", said["error"])
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = respond  # noqa: N815  # http.server's names

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
