"""A whole run with teacher, tokenizer and text from a hub, all of them private and pinned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hub_client import HubClient, environment
from hub_server import HubServer
from safetensors.torch import load_file, save

from lit_distill.models import TeacherSpec, fingerprint, load_tokenizer
from lit_distill.training.checkpoints import KEY

pytestmark = pytest.mark.rotated(3)  # they wait

SECRET = "hf_OfNobodysConcern"


@pytest.fixture
def experiment(folder: Path, hub: HubServer, tiny_bert: Path, text_folder: Path) -> list[str]:
    """Options of `fit`. The branches go on after the pinned commits: other weights and words."""
    model = hub.add("lab/teacher", tiny_bert, token=SECRET)
    weights = load_file(tiny_bert / "model.safetensors")
    tokenizer = json.loads((tiny_bert / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["the"], vocabulary["a"] = vocabulary["a"], vocabulary["the"]
    newer = {
        "model.safetensors": save({k: v + 1 for k, v in weights.items()}, {"format": "pt"}),
        "tokenizer.json": json.dumps(tokenizer).encode(),
    }
    hub.add("lab/teacher", newer)
    text = (text_folder / "en.txt").read_bytes()
    corpus = hub.add("lab/corpus", {"train.txt": text}, kind="datasets", token=SECRET)
    hub.add("lab/corpus", {"train.txt": b"too little\n"}, kind="datasets")
    config = yaml.safe_load((folder / "exp.yaml").read_text())
    config["model"]["init_args"]["teacher"] = {"name": "lab/teacher", "revision": model}
    config["data"]["init_args"]["sources"] = [
        {"language": "en", "dataset": "lab/corpus", "revision": corpus}
    ]
    config["trainer"]["logger"] = {
        "class_path": "TensorBoardLogger",
        "init_args": {"save_dir": "{run_dir}", "name": "", "version": "tensorboard"},
    }
    config["trainer"]["callbacks"] += [{"class_path": "ExportStudent"}]
    (folder / "exp.yaml").write_text(yaml.safe_dump(config))
    return ["fit", "-c", str(folder / "exp.yaml"), "--run_dir", str(folder / "run")]


def test_a_run_from_the_hub_keeps_the_pins_and_the_token_to_itself(
    experiment: list[str], hub: HubServer, folder: Path, tiny_bert: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lit_distill", *experiment],
        env=environment(hub.endpoint, folder / "home", HF_TOKEN=SECRET, HF_HUB_VERBOSITY="debug"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    checkpoint = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)[KEY]
    (teacher,) = checkpoint["teachers"].values()
    assert teacher["fingerprint"] == fingerprint(TeacherSpec(str(tiny_bert)).build())
    exported = load_tokenizer(str(folder / "run/student-last"))
    assert exported.get_vocab() == load_tokenizer(str(tiny_bert)).get_vocab()
    config = yaml.safe_load((folder / "run/config.yaml").read_text())
    assert config["tokenizer"] == f"lab/teacher@{teacher['revision']}"
    assert teacher["revision"] in (folder / "run/student-last/README.md").read_text("utf-8")
    assert any(request.token == SECRET for request in hub.requests)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert {"config.yaml", "last.ckpt", "README.md"} <= {path.name for path in written}
    assert not [path for path in written if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr


def test_without_the_token_it_is_one_line(
    experiment: list[str], hub_client: HubClient, folder: Path
) -> None:
    outcome = hub_client.run(f"raise SystemExit(main({experiment!r}))")
    assert "HF_TOKEN" in outcome.error
    assert not (folder / "run/config.yaml").exists()


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:1"}, "the hub cannot be reached (no connection with"),
        ({"HF_HUB_OFFLINE": "1"}, "offline mode is on"),
    ],
    ids=["refused", "offline"],
)
def test_without_a_hub_the_cache_serves(
    hub: HubServer, hub_client: HubClient, tiny_bert: Path, trouble: dict[str, str], said: str
) -> None:
    model, corpus = f"lab/cached-{said[:3]}", f"lab/cached-corpus-{said[:3]}"
    commit = hub.add(model, tiny_bert)
    texts = hub.add(corpus, {"train.txt": b"one\ntwo\n"}, kind="datasets")
    use = f"load_tokenizer('{model}@{commit}')\n"
    use += f"print(fingerprint(TeacherSpec({model!r}, {commit!r}).build()))\n"
    read = f"print(*HubReader({corpus!r}, revision={texts!r}).rows())\n"
    expected = fingerprint(TeacherSpec(str(tiny_bert)).build())
    assert hub_client.run(use).printed == expected
    assert hub_client.run(read).printed == "one two"
    hub.requests.clear()
    code = "import time\nfrom data_modules.reading.hub_reader import HubReader\n"
    code += "from lit_distill.models import TeacherSpec, fingerprint, load_tokenizer\n"
    code += f"{use}began = time.monotonic()\n"
    for program in (read, "TeacherSpec('lab/other').build()"):
        code += f"try: {program}\nexcept ValueError as error: print(error)\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "print(time.monotonic() - began)"],
        env=environment(hub.endpoint, hub_client.home, **trouble),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    digest, read_again, error, seconds = done.stdout.splitlines()
    assert digest == expected
    assert ("one two" if "HF_HUB_OFFLINE" in trouble else "HF_HUB_OFFLINE=1 takes") in read_again
    assert said in error
    assert "give a local folder, or run `hf download lab/other`" in error
    assert float(seconds) < 8
    assert not hub.requests
