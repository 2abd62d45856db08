"""`push`, as a user runs it, to the hub of the tests: by git LFS, and by hf_xet into a folder."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hub_client import HubClient, environment
from hub_server import Fault, HubServer
from model_folders import CARD, READER, TOKEN, folder_with, pushed, with_accounts

from lit_distill.__main__ import main

pytestmark = pytest.mark.rotated(4)  # programs of their own
DIGEST = """
from hashlib import sha256
from pathlib import Path
from huggingface_hub import snapshot_download
from transformers import AutoModelForMaskedLM, AutoTokenizer
AutoModelForMaskedLM.from_pretrained({name!r}), AutoTokenizer.from_pretrained({name!r})
folder = Path(snapshot_download({name!r}))
for path in sorted(folder.rglob("*")):
    if path.is_file():
        print(path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest())
"""


STORED = """
import sys
from hf_xet import XetFileInfo, XetSession, hash_files
path, storage, size, target = sys.argv[1:]
(found,) = hash_files([path])
options = {"endpoint": f"local://{storage}", "token": "x", "token_expiry_unix_secs": 2**40}
with XetSession().new_file_download_group(**options) as group:
    group.start_download_file(XetFileInfo(found.hash, int(size)), target)
"""


@pytest.fixture
def hub(hub: HubServer) -> HubServer:
    return with_accounts(hub)


@pytest.fixture
def folder(tiny_bert: Path, tmp_path: Path) -> Path:
    return folder_with(tiny_bert, tmp_path / "model")


def writes(hub: HubServer) -> list[str]:
    """What a hub was asked that changes something there."""
    asked = [*hub.asked("*", "POST"), *hub.asked("*", "PUT")]
    return [one.path for one in asked if one.path != "/api/validate-yaml"]


def test_what_is_pushed_comes_back_as_it_was_and_is_private(
    hub: HubServer, hub_client: HubClient, folder: Path
) -> None:
    dry = pushed(hub_client, folder, "alice/one", "--dry-run")
    assert dry.printed == "Nothing was sent (dry run)."
    assert not writes(hub)
    done = pushed(hub_client, folder, "alice/one", "--message", "The first")
    assert done.printed.startswith(f"Sent: {hub.endpoint}/alice/one (private), commit ")
    for outcome in (dry, done):
        assert "alice/one, which will be made (private):" in outcome.output
        assert "Not sent: .env, last.ckpt, optimizer.pt, seen_texts.npy, tens" in outcome.output
        assert TOKEN not in outcome.output
    repository = hub.repositories["models", "alice/one"]
    assert repository.token == TOKEN  # nobody else may read it
    assert hub.uploads.messages == ["The first"]
    there = repository.commits[repository.branches["main"]]
    assert not any(b"secret" in data for data in there.values())
    came = hub_client.run(DIGEST.format(name="alice/one"), HF_TOKEN=TOKEN)
    found = dict(line.split() for line in came.output.splitlines() if " " in line)
    sent = {path: data for path, data in there.items() if path != ".gitattributes"}
    assert {"LICENSE", "README.md", "config.json", "model.safetensors"} <= {*sent}
    for path in sent:
        assert found[path] == sha256((folder / path).read_bytes()).hexdigest(), path
    stranger = "from huggingface_hub import model_info; model_info('alice/one')"
    assert "Status/401" in hub_client.run(stranger).output


@pytest.mark.rotated(8)
def test_large_files_go_through_the_storage_of_hf_xet(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    """As on the hub, where it is installed; its storage here is a folder, which it reads itself."""
    weights, storage = folder / "model.safetensors", tmp_path / "storage"
    storage.mkdir()

    def stored(oid: str, size: int) -> bytes:
        args = [str(weights), str(storage), str(size), str(tmp_path / "read")]
        subprocess.run([sys.executable, "-c", STORED, *args], check=True)
        return (tmp_path / "read").read_bytes()

    hub.uploads.storage, hub.uploads.stored = storage, stored
    done = subprocess.run(
        [sys.executable, "-m", "lit_distill", "push", str(folder), "alice/by-xet"],
        env=environment(hub.endpoint, tmp_path / "home", HF_TOKEN=TOKEN, HF_HUB_DISABLE_XET="0"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"Sent: {hub.endpoint}/alice/by-xet (private)" in done.stdout
    assert not hub.asked("/lfs/*")
    repository = hub.repositories["models", "alice/by-xet"]
    there = repository.commits[repository.branches["main"]]
    assert there["model.safetensors"] == weights.read_bytes()


def test_what_is_there_is_added_to_and_never_lost(
    hub: HubServer, hub_client: HubClient, folder: Path
) -> None:
    hub.add("lab/kept", {"README.md": b"theirs", "vocab.txt": b"old", "a.png": b"x"}, token=TOKEN)
    repository = hub.repositories["models", "lab/kept"]
    before = repository.branches["main"]
    refused = pushed(hub_client, folder, "lab/kept").error
    assert "lab/kept holds 3 files already (README.md, a.png, vocab.txt): give another" in refused
    assert not writes(hub)
    done = pushed(hub_client, folder, "lab/kept", "--overwrite")
    assert "Removed there, as the folder does not have them: vocab.txt." in done.output
    now = repository.commits[repository.branches["main"]]
    assert done.printed.endswith(repository.branches["main"])
    assert now["README.md"] == CARD.encode()
    assert now["a.png"] == b"x"
    assert "vocab.txt" not in now
    assert repository.commits[before]["README.md"] == b"theirs"  # in the history
    hub.add("lab/kept", {"merges.txt": b"old"})
    main_now = repository.branches["main"]
    branch = pushed(hub_client, folder, "lab/kept", "--revision=two")
    assert f"{hub.endpoint}/lab/kept/tree/two (private)" in branch.printed
    assert {*repository.branches} == {"main", "two"}
    assert repository.branches["main"] == main_now
    assert "merges.txt" not in repository.commits[repository.branches["two"]]
    again = pushed(hub_client, folder, "lab/kept", "--revision=two")
    assert "lab/kept/tree/two holds" in again.error


def test_only_who_says_so_shows_it_to_all(
    hub: HubServer, hub_client: HubClient, folder: Path
) -> None:
    hub.add("lab/open", {".gitattributes": b""})
    refused = pushed(hub_client, folder, "lab/open").error
    assert "lab/open is public: all would see what is sent. Say --public" in refused
    assert not writes(hub)
    assert "(public), commit" in pushed(hub_client, folder, "lab/open", "--public").printed
    assert "(public), commit" in pushed(hub_client, folder, "lab/new", "--public").printed
    assert hub.repositories["models", "lab/new"].token is None
    hub.add("lab/closed", {".gitattributes": b""}, token=TOKEN)
    done = pushed(hub_client, folder, "lab/closed", "--public")
    assert "(private, and stays so: change that in its settings)" in done.output
    assert "(private), commit" in done.printed


def test_what_cannot_be_sent_is_one_line_before_anything_is(
    hub: HubServer, hub_client: HubClient, folder: Path
) -> None:
    def error(*args: object, token: str = TOKEN) -> str:
        return pushed(hub_client, *map(str, args), token=token).error

    assert "'model' has no owner: give OWNER/model" in error(folder, "model")
    assert "'a/b/c' is no name on a hub" in error(folder, "a/b/c")
    assert "is no name on a hub: Cannot have --" in error(folder, "alice/a--b")
    assert "it has no config.json" in error(folder.parent, "alice/x")
    assert "Nobody is logged in" in error(folder, "alice/x", token="")
    assert "does not take the token" in error(folder, "alice/x", token="hf_Nobody")
    assert "is alice's, who may not write for bob: give alice/... or lab/..." in error(
        folder, "bob/x"
    )
    assert "The token of alice may only read" in error(folder, "alice/x", token=READER)
    cards = {
        None: "has no model card",
        "# Mine": "has no header",
        "---\n[a\n---\n": "cannot be read",
        "---\nmodel-index: [{name: x}]\n---\n": "is not valid: Invalid `model_index`",
        "---\nlicense: my own\nlanguage: [xx]\n---\n": '"license" must be one of [afl-3.0, ',
        "---\nlanguage: [xx]\n---\n": 'The hub refuses {}: "language[0]" with value "xx" is not v',
    }
    for card, said in cards.items():
        (folder / "README.md").unlink(missing_ok=True)
        if card is not None:
            (folder / "README.md").write_text(card)
        assert said.format(folder / "README.md") in error(folder, "alice/x")
    assert not writes(hub)
    assert ("models", "alice/x") not in hub.repositories


@pytest.mark.parametrize(
    ("path", "method", "said"),
    [
        ("/lfs/*", "PUT", "Error while uploading 'model.safetensors' to the Hub"),
        ("*/commit/main", "POST", "as the test asked"),
    ],
)
def test_half_an_upload_is_told_and_not_called_done(
    hub: HubServer, hub_client: HubClient, folder: Path, path: str, method: str, said: str
) -> None:
    name = f"alice/half-{method.lower()}"
    hub.faults.append(Fault(path, method, status=403))
    outcome = pushed(hub_client, folder, name)
    assert said in outcome.error
    assert "The repository was made, and holds nothing of the model; the same com" in outcome.error
    assert "Sent" not in outcome.output
    assert not hub.uploads.messages
    hub.faults.clear()
    assert pushed(hub_client, folder, name).printed.startswith("Sent: ")
    hub.faults.append(Fault(path, method, status=403))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(_other(folder / "model.safetensors"))
    again = pushed(hub_client, folder, name, "--overwrite")
    assert "The repository is as it was; the same command sends" in again.error


def _other(path: Path) -> bytes:
    """The same weights but for the last byte."""
    data = path.read_bytes()
    return data[:-1] + bytes([data[-1] ^ 1])


def test_a_commit_of_somebody_else_is_not_hidden(
    hub: HubServer, hub_client: HubClient, folder: Path
) -> None:
    """One that came while the files were sent."""
    hub.add("lab/busy", {".gitattributes": b""}, token=TOKEN)
    real = hub.uploads._take

    def take(oid: str, body: bytes) -> object:
        hub.add("lab/busy", {"theirs.txt": b"new"})
        return real(oid, body)

    hub.uploads._take = take  # type: ignore[method-assign, assignment]
    try:
        weights = folder / "model.safetensors"
        weights.write_bytes(_other(weights))  # which the hub does not have yet
        outcome = pushed(hub_client, folder, "lab/busy")
    finally:
        hub.uploads._take = real  # type: ignore[method-assign]
    assert "A commit has happened since" in outcome.error
    assert "Whether it has arrived is to be seen there" in outcome.error


def test_files_that_the_hub_leaves_out_are_told(
    hub: HubServer, hub_client: HubClient, folder: Path
) -> None:
    hub.uploads.ignored.add("tokenizer.json")
    outcome = pushed(hub_client, folder, "alice/ignoring")
    assert "without tokenizer.json: see whether a .gitignore is there" in outcome.error
    assert "Sent" not in outcome.output


@pytest.mark.parametrize(
    ("path", "fault", "said"),
    [
        ("/api/whoami-v2", {"silent": True}, "gives no answer in 2 s"),
        ("/api/whoami-v2", {"status": 500}, "whose the token is failed: as the test asked"),
        ("/api/models/*", {"silent": True}, "Looking for alice/quiet on"),
        ("/api/repos/create", {"status": 402}, "Making alice/quiet failed: as the test asked"),
    ],
)
def test_a_hub_in_trouble_is_one_line(
    hub: HubServer, hub_client: HubClient, folder: Path, path: str, fault: dict[str, int], said: str
) -> None:
    hub.faults.append(Fault(path, **fault))  # type: ignore[arg-type]
    assert said in pushed(hub_client, folder, "alice/quiet").error
    assert ("models", "alice/quiet") not in hub.repositories


def test_offline_nothing_is_asked(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["push", str(folder), "alice/x"]) == 2
    assert "Offline mode is on (HF_HUB_OFFLINE)" in capsys.readouterr().err
