"""The half of the small hub that takes something: accounts, repositories, files, commits.

As much as `huggingface_hub` asks: small files come inside the commit, large ones before it, by git
LFS (HF_HUB_DISABLE_XET=1), or into a folder that hf_xet keeps as it would keep its storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hub_cards import validated

LFS = ("*.safetensors", "*.bin", "*.onnx", "*.npy", "*.onnx.data")
LARGE = 10_000_000
"""Bytes from which on a file is an LFS file, whatever its name."""
COMMIT = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)")
PREUPLOAD = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)")
BRANCH = re.compile(r"/api/models/(?P<name>[^/]+/[^/]+)/branch/(?P<revision>[^/]+)")
BATCH = re.compile(r"/(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch")
OBJECT = re.compile(r"/lfs/(?P<oid>[0-9a-f]{64})")


@dataclass(frozen=True)
class Account:
    """Whose a token is.

    Attributes:
        name: of the user.
        role: of the token: "write" or "read".
        organisations: for which the user may write.
    """

    name: str
    role: str = "write"
    organisations: tuple[str, ...] = ()

    @property
    def about(self) -> dict[str, Any]:
        """As `whoami` says it."""
        return {
            "type": "user",
            "name": self.name,
            "orgs": [{"name": one, "roleInOrg": "write"} for one in self.organisations],
            "auth": {"accessToken": {"displayName": "a token", "role": self.role}},
        }

    def may_write(self, namespace: str) -> bool:
        return self.role == "write" and namespace in (self.name, *self.organisations)


@dataclass(frozen=True)
class Answer:
    """Status and content of an answer; of an error, its message and code in headers."""

    status: int
    content: Any = field(default_factory=dict)
    code: str = ""


def refused(status: int, message: str, code: str = "") -> Answer:
    return Answer(status, {"error": message}, code)


class Uploads:
    """What is taken, with the repositories of a server.

    Args:
        server: with `repositories`, `accounts`, `endpoint` and `make`.
    """

    def __init__(self, server: Any) -> None:
        self.server = server
        self.objects: dict[str, bytes] = {}
        """LFS files by their sha256."""
        self.storage: Path | None = None
        """Folder of hf_xet's own local storage."""
        self.stored: Callable[[str, int], bytes] = lambda oid, size: b""
        """Reads an object of a sha256 and a size out of it."""
        self.messages: list[str] = []
        """Of the commits."""
        self.ignored: set[str] = set()
        """Files that a .gitignore of the repository would leave out."""

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> Answer | None:
        """What the hub says; None where it is asked for something to read."""
        if method == "PUT" and (match := OBJECT.fullmatch(path)):
            return self._take(match["oid"], body)
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        account = self.server.accounts.get(token)
        if path == "/api/whoami-v2":
            if account is None:
                return refused(401, "Invalid credentials in Authorization header")
            return Answer(200, account.about)
        if "/xet-write-token/" in path and self.storage is not None:
            access = {"casUrl": f"local://{self.storage}", "exp": int(time.time()) + 3600}
            return Answer(200, {**access, "accessToken": "of an hour"})
        if method != "POST":
            return None
        if OBJECT.fullmatch(path.removesuffix("/verify")):
            return Answer(200 if path.split("/")[2] in self.objects else 404)
        if account is None:
            return refused(401, "Invalid username or password.")
        asked = [(BATCH, self._batch), (PREUPLOAD, self._preupload), (COMMIT, self._commit)]
        for pattern, method_of in [*asked, (BRANCH, self._branch)]:
            if match := pattern.fullmatch(path):
                repository = self.server.repositories.get(("models", match["name"]))
                if repository is None or repository.token not in (None, token):
                    return refused(404, "Repository not found", "RepoNotFound")
                if not account.may_write(match["name"].partition("/")[0]):
                    return refused(403, "Forbidden: pass a token that may write here")
                return method_of(repository, match, body)
        return self._create(account, token, json.loads(body)) if "/repos/create" in path else None

    def _create(self, account: Account, token: str | None, asked: dict[str, Any]) -> Answer:
        namespace = asked["organization"] or account.name
        if not account.may_write(namespace):
            return refused(403, f"You don't have the rights to create a model under {namespace}")
        name = f"{namespace}/{asked['name']}"
        if ("models", name) in self.server.repositories:
            return refused(409, "You already created this model repo")
        private = asked.get("visibility") == "private"
        first = {".gitattributes": "".join(f"{one} filter=lfs\n" for one in LFS).encode()}
        self.server.add(name, first, token=token if private else None)
        return Answer(200, {"url": f"{self.server.endpoint}/{name}", "name": name})

    def _preupload(self, repository: Any, match: re.Match[str], body: bytes) -> Answer:
        commit = repository.branches.get(match["revision"])
        if commit is None:
            return refused(404, f"Invalid rev id: {match['revision']}", "RevisionNotFound")
        there = repository.commits[commit]
        told = []
        for one in json.loads(body)["files"]:
            path = one["path"]
            large = one["size"] > LARGE or any(fnmatch(path, pattern) for pattern in LFS)
            oid = _blob(there[path]) if path in there and not large else None
            ignored = path in self.ignored
            mode = {"uploadMode": "lfs" if large else "regular", "shouldIgnore": ignored}
            told.append({"path": path, "oid": oid, **mode})
        return Answer(200, {"files": told})

    def _batch(self, repository: Any, match: re.Match[str], body: bytes) -> Answer:
        told = []
        for one in json.loads(body)["objects"]:
            href = f"{self.server.endpoint}/lfs/{one['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            new = {} if one["oid"] in self.objects else {"actions": actions}
            told.append({"oid": one["oid"], "size": one["size"], **new})
        return Answer(200, {"transfer": "basic", "objects": told})

    def _take(self, oid: str, body: bytes) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return refused(400, "The content is not what its hash says")
        self.objects[oid] = body
        return Answer(200)

    def _branch(self, repository: Any, match: re.Match[str], body: bytes) -> Answer:
        if match["revision"] in repository.branches:
            return refused(409, "Reference already exists")
        repository.branches[match["revision"]] = repository.branches["main"]
        return Answer(200)

    def _commit(self, repository: Any, match: re.Match[str], body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines() if line]
        head = repository.branches.get(match["revision"])
        if head is None:
            return refused(404, f"Invalid rev id: {match['revision']}", "RevisionNotFound")
        about = lines[0]["value"]
        if about.get("parentCommit") not in (None, head):
            return refused(412, "A commit has happened since. Please refresh and try again.")
        files: dict[str, bytes | None] = {}
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if self.storage is not None and value["oid"] not in self.objects:
                    self._take(value["oid"], self.stored(value["oid"], value["size"]))
                if value["oid"] not in self.objects:
                    return refused(400, f"The object of {value['path']} was not uploaded")
                files[value["path"]] = self.objects[value["oid"]]
            else:
                files[value["path"]] = None
        if card := files.get("README.md"):
            checked = self._validate(card.decode())
            if checked.status != 200:
                return checked
        commit = repository.push(files, match["revision"])
        self.messages.append(about["summary"])
        url = f"{self.server.endpoint}/{match['name']}/commit/{commit}"
        return Answer(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def _validate(self, card: str) -> Answer:
        errors, warned = validated(card)
        told = {"errors": _messages(errors), "warnings": _messages(warned)}
        return Answer(400 if errors else 200, {"error": "; ".join(errors), **told})


def _messages(texts: list[str]) -> list[dict[str, str]]:
    return [{"message": text} for text in texts]


def _blob(data: bytes) -> str:
    """The name that git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
