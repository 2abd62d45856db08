"""A small hub on 127.0.0.1: as much of the HTTP API as loading and pushing ask for, and faults.

It answers like the real one where the client libraries look at the answer: status, error codes in
headers, commit, ETag, ranges. What it was asked is in `requests`; what it takes, in `hub_uploads`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from hub_uploads import Account, Uploads

Kind = Literal["models", "datasets"]
FILE = re.compile(
    r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"
)
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
    r"(/(?P<call>revision|tree)/(?P<revision>[^/]+)(/(?P<path>.*))?)?"
)


@dataclass
class Repository:
    """Files by commit, commits by branch; a token that may read it, if it is not public."""

    branches: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    token: str | None = None
    gated: bool = False

    def push(self, files: Mapping[str, bytes | None], branch: str = "main") -> str:
        """The new commit's hash; None instead of a content removes a file."""
        parent = self.commits.get(self.branches.get(branch, ""), {})
        both = {**parent, **files}
        merged = {path: data for path, data in both.items() if data is not None}
        listing = repr(sorted((path, hashlib.sha1(data).digest()) for path, data in merged.items()))
        commit = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[commit] = merged
        self.branches[branch] = commit
        return commit


@dataclass
class Fault:
    """What goes wrong with the first `times` requests for a matching path.

    Attributes:
        path: pattern of the address's path.
        method: "HEAD", "GET", or any.
        status: answer this; 0: see below.
        headers: that go with the status.
        silent: accept and never answer.
        cut: close the connection after so many bytes of the content.
        pause: seconds between pieces of the content, of which there are ten.
    """

    path: str = "*"
    method: str = "*"
    times: int = 1_000_000
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False
    cut: int | None = None
    pause: float = 0.0


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    token: str | None
    when: float


class HubServer(ThreadingHTTPServer):
    """Serves repositories at `endpoint` until closed."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.accounts: dict[str | None, Account] = {}
        self.uploads = Uploads(self)
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()

    def add(
        self,
        name: str,
        files: dict[str, bytes] | Path,
        branch: str = "main",
        kind: Kind = "models",
        **rights: Any,
    ) -> str:
        """Pushes files to a repository, which is made if needed; the new commit's hash."""
        if isinstance(files, Path):
            found = (path for path in files.rglob("*") if path.is_file())
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in found}
        repository = self.repositories.setdefault((kind, name), Repository(**rights))
        return repository.push(files, branch)

    def asked(self, pattern: str, method: str = "*") -> list[Request]:
        """The requests for a path."""
        return [r for r in self.requests if fnmatch(r.path, pattern) and fnmatch(r.method, method)]

    def note(self, request: Request) -> Fault:
        """Remembers a request; what is to go wrong with it."""
        with self._lock:
            self.requests.append(request)
            for fault in self.faults:
                matches = fnmatch(request.path, fault.path) and fnmatch(
                    request.method, fault.method
                )
                if matches and fault.times > 0:
                    fault.times -= 1
                    return fault
        return Fault()


@contextmanager
def serving() -> Iterator[HubServer]:
    """A running server."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        request = Request(self.command, path, self.headers.get("Range"), token, time.monotonic())
        self.fault = self.server.note(request)
        body = self._body()
        if self.fault.silent:
            self.server.stopped.wait()
            self.close_connection = True
        elif self.fault.status:
            self._json(self.fault.status, {"error": "as the test asked"}, self.fault.headers)
        elif told := self.server.uploads.answer(self.command, path, token, body):
            codes = {"X-Error-Code": told.code} if told.code else {}
            self._json(told.status, told.content, codes)
        elif match := FILE.fullmatch(path) or API.fullmatch(path):
            kind = (match["kind"] or "models").rstrip("/")
            repository = self.server.repositories.get((kind, match["name"]))
            self._repository(repository, match, token)
        else:
            self._json(404, {"error": "no such page"})

    def _body(self) -> bytes:
        """What was sent, in one piece or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _repository(
        self, repository: Repository | None, match: re.Match[str], token: str | None
    ) -> None:
        """Rights and revision; without a token the real hub does not tell private from missing."""
        if token is not None and token.startswith("expired"):
            return self._refuse(401, "", "Invalid credentials in Authorization header")
        if repository is not None and repository.gated and token != repository.token:
            return self._refuse(403 if token else 401, "GatedRepo", "Access is restricted.")
        if repository is None or repository.token not in (None, token):
            if token is None:
                return self._refuse(401, "", "Invalid username or password.")
            return self._refuse(404, "RepoNotFound", "Repository not found")
        revision = match["revision"] or "main"
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = repository.commits[commit]
        if match.re is FILE:
            self._file(files, match["path"], commit)
        else:
            self._api(repository, match, commit)

    def _api(self, repository: Repository, match: re.Match[str], commit: str) -> None:
        files = repository.commits[commit]
        if match["call"] == "tree":
            folder = match["path"].rstrip("/") + "/" if match["path"] else ""
            recursive = "recursive=true" in self.path.lower()
            entries = _entries(files, folder, recursive)
            if folder and not entries:
                return self._refuse(404, "EntryNotFound", f"{folder} does not exist", commit)
            self._json(200, entries)
        else:
            siblings = [{"rfilename": path} for path in files]
            private = repository.token is not None
            about = {"id": match["name"], "sha": commit, "private": private, "tags": []}
            self._json(200, {**about, "gated": repository.gated, "siblings": siblings})

    def _file(self, files: dict[str, bytes], path: str, commit: str) -> None:
        if path not in files:
            return self._refuse(404, "EntryNotFound", "Entry not found", commit)
        data = files[path]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit}
        first, last, status = 0, len(data) - 1, 200
        if asked := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or ""):
            if asked[1]:
                first, last = int(asked[1]), min(int(asked[2] or last), last)
            else:
                first = max(0, len(data) - int(asked[2]))
            if first >= len(data):
                return self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            status, headers["Content-Range"] = 206, f"bytes {first}-{last}/{len(data)}"
        self._send(status, data[first : last + 1], {**headers, "Accept-Ranges": "bytes"})

    def _refuse(self, status: int, code: str, message: str, commit: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message, "X-Repo-Commit": commit}
        self._json(status, {"error": message}, {k: v for k, v in headers.items() if v})

    def _json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(
            status,
            json.dumps(value).encode(),
            {"Content-Type": "application/json", **(headers or {})},
        )

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault.cut is not None:
            data = data[: self.fault.cut]
            self.close_connection = True
        step = -(-len(data) // 10) if self.fault.pause else len(data)
        try:
            for start in range(0, len(data), step or 1):
                self.wfile.write(data[start : start + step])
                self.server.stopped.wait(self.fault.pause)
        except OSError:  # the client gave up
            self.close_connection = True


def _entries(files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files as the tree API lists them; folders only where it does not descend."""
    below = {path: data for path, data in files.items() if path.startswith(folder)}
    inside = {p: d for p, d in below.items() if recursive or "/" not in p.removeprefix(folder)}
    entries = [
        {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        for path, data in inside.items()
    ]
    depth = folder.count("/")
    folders = [e for e in _folders(below) if recursive or e["path"].count("/") == depth]
    return entries + [entry for entry in folders if entry["path"] + "/" != folder]


def _folders(files: dict[str, bytes]) -> list[dict[str, Any]]:
    found = {"/".join(path.split("/")[:n]) for path in files for n in range(1, path.count("/") + 1)}
    return [{"type": "directory", "path": p, "oid": "0" * 40, "size": 0} for p in sorted(found)]
