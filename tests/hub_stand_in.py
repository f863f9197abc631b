"""A small Hub on loopback: repositories in their real layout, and everything that goes wrong.

It speaks the part of the Hub's interface that the package uses: what a repository holds at a
revision, its references, and its files, in whole or from an offset.
"""

import hashlib
import json
import threading
import urllib.parse
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huggingface_hub import constants

Files = Mapping[str, bytes]


@dataclass
class StoredRepository:
    """A repository: its files at each commit, its branches, and who may read it."""

    commits: dict[str, Files] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    token: str | None = None
    """Needed to see it at all."""


@dataclass
class StandIn:
    """The server with what it holds, what it was asked for and how it is to fail."""

    url: str = ""
    repositories: dict[tuple[str, str], StoredRepository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """Method and path of every request."""
    sent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Bytes of content sent for each file."""
    statuses: list[int] = field(default_factory=list)
    """Answered to the next requests instead of what they ask for."""
    always: int | None = None
    """Answered to every request."""
    html: bool = False
    """A captive portal: a page with status 200 whatever is asked for."""
    circle: bool = False
    """Every request is redirected to itself."""
    delay: float = 0.0
    cut_after: list[int] = field(default_factory=list)
    """The next transfers of files break off after so many bytes."""

    def add(
        self, kind: str, hub_id: str, files: Files, *, commit: str, branch: str = "main"
    ) -> StoredRepository:
        """A repository, or one more commit of it."""
        repository = self.repositories.setdefault((kind, hub_id), StoredRepository())
        repository.commits[commit] = dict(files)
        repository.branches[branch] = commit
        return repository

    def files_asked(self) -> list[str]:
        """The files that were transferred."""
        return sorted({path.split("/resolve/", 1)[1].split("/", 1)[1] for path in self.resolved()})

    def resolved(self) -> list[str]:
        """Requests of files."""
        return [line.split(" ", 1)[1] for line in self.asked if "/resolve/" in line]


def is_large(name: str) -> bool:
    """Whether the Hub keeps the file in large file storage."""
    return name.endswith((".safetensors", ".bin", ".parquet", ".gz", ".model"))


def commit_of(text: str) -> str:
    """A commit hash."""
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    head = f"blob {len(content)}\0".encode()
    found: dict[str, Any] = {
        "rfilename": name,
        "size": len(content),
        "blobId": hashlib.sha1(head + content, usedforsecurity=False).hexdigest(),
    }
    if is_large(name):
        sha256 = hashlib.sha256(content).hexdigest()
        found["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 134}
    return found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandIn

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.hub
        if self.path == "/api/agent-harnesses":  # the client's own, once a day
            return self._json(200, {}, {})
        hub.asked.append(f"{self.command} {self.path}")
        threading.Event().wait(hub.delay)  # tests do not let anyone sleep
        if hub.circle:
            return self._send(302, b"", {"Location": self.path})
        if hub.html:
            return self._send(200, b"<html>Log in to the network</html>", {})
        status = hub.statuses.pop(0) if hub.statuses else hub.always
        if status is not None and status != 200:
            return self._send(status, b"{}", {"Retry-After": "0"} if status == 429 else {})
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        if path.startswith("/api/"):
            return self._api(path.removeprefix("/api/"))
        return self._file(path.removeprefix("/"))

    def _repository(self, kind: str, hub_id: str) -> StoredRepository | None:
        repository = self.hub.repositories.get((kind, hub_id))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token == "wrong":  # noqa: S105
            self._json(401, {"error": "Invalid user token."}, {})
            return None
        if repository is None or (repository.token is not None and token != repository.token):
            self._json(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def _api(self, path: str) -> None:
        kinds, owner, name, *rest = path.split("/")
        repository = self._repository(kinds.removesuffix("s"), f"{owner}/{name}")
        if repository is None:
            return None
        if rest == ["refs"]:
            every = [
                {"name": branch, "ref": ref, "targetCommit": commit}
                for branch, commit in repository.branches.items()
                for ref in [branch if branch.startswith("refs/") else f"refs/heads/{branch}"]
            ]
            pulls = [ref for ref in every if ref["ref"].startswith("refs/pr/")]
            branches = [ref for ref in every if ref not in pulls]
            return self._json(
                200,
                {"branches": branches, "converts": [], "tags": [], "pullRequests": pulls},
                {},
            )
        revision = "/".join(rest[1:]) or "main"
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return self._json(
                404, {"error": "Revision Not Found"}, {"X-Error-Code": "RevisionNotFound"}
            )
        siblings = [_sibling(*item) for item in repository.commits[commit].items()]
        return self._json(200, {"id": f"{owner}/{name}", "sha": commit, "siblings": siblings}, {})

    def _file(self, path: str) -> None:
        where, _, rest = path.partition("/resolve/")
        kind = "dataset" if where.startswith("datasets/") else "model"
        repository = self._repository(kind, where.removeprefix("datasets/"))
        if repository is None:
            return None
        if repository.gated:
            return self._json(403, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        commit, _, name = rest.partition("/")
        content = repository.commits.get(commit, {}).get(name)
        if content is None:
            return self._json(404, {"error": "no"}, {"X-Error-Code": "EntryNotFound"})
        start = 0
        wanted = self.headers.get("Range")
        if wanted:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        headers = {"ETag": f'"{_sibling(name, content)["blobId"]}"', "X-Repo-Commit": commit}
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return self._send(206 if wanted else 200, content[start:], headers, name=name)

    def _json(self, status: int, body: Any, headers: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json", **headers}
        return self._send(status, json.dumps(body).encode(), headers)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], name: str | None = None
    ) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.hub.cut_after.pop(0) if name and self.hub.cut_after else None
        sent = body if cut is None else body[:cut]
        try:
            self.wfile.write(sent)
            self.wfile.flush()
        except OSError:
            return
        if name:
            self.hub.sent[name] += len(sent)
        if cut is not None:
            self.close_connection = True
            self.connection.close()


def serve(hub: StandIn) -> ThreadingHTTPServer:
    """Start the server in a thread; ``hub.url`` is its address."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server


def point_at(url: str, cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hub's client speak with this address and keep what it fetches in this folder."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache) + "-no-token")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
