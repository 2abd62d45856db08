"""What all tests share: no network, one thread, and tiny models made on the spot."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before the first import of a Hugging Face library
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"  # of what Lightning calls
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # its threads would not survive a fork

import json
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from zlib import crc32

import pytest
import torch
from cpu_times import FILE, order, write
from cpu_times import pytest_runtest_logreport as pytest_runtest_logreport
from cpu_times import pytest_runtest_makereport as pytest_runtest_makereport
from cpu_times import pytest_runtest_setup as pytest_runtest_setup
from equalities import Equalities, page
from hub_client import HubClient, client
from hub_server import HubServer, serving
from labelled import classifier

torch.set_num_threads(1)

EQUALITIES = pytest.StashKey[Equalities]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--equalities", help="Write the table of equal gradients to this file.")
    parser.addoption(
        "--times", action="store_true", help=f"Write down in {FILE.name} what takes how long."
    )
    parser.addoption("--every-day", action="store_true", help="Run what other days would run, too.")


@pytest.hookimpl(tryfirst=True)  # before `slow` is left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves what is `rotated` to its day; its name decides which, so that none is left to none.

    What is long begins first.
    """
    order(items)
    today = date.today().toordinal()
    for item in () if config.getoption("--every-day") else items:
        for mark in item.iter_markers("rotated"):
            if (crc32(item.nodeid.encode()) - today) % mark.args[0]:
                item.add_marker("slow")


@pytest.fixture(scope="session")
def equalities(request: pytest.FixtureRequest) -> Equalities:
    """How far gradients are apart, for the table."""
    return request.config.stash.setdefault(EQUALITIES, {})


def pytest_terminal_summary(config: pytest.Config) -> None:
    found, path = config.stash.get(EQUALITIES, {}), config.getoption("--equalities", None)
    if found and path:
        Path(path).write_text(page(found), "utf-8")
    if config.getoption("--times"):
        write(FILE)


@pytest.fixture(autouse=True)
def no_seed_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks that a test starts would take the seed of a run that an earlier test made."""
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


WORDS = {
    "en": "the a river runs past old houses where cats sleep and children read long books daily",
    "de": "der ein fluss liegt hinter alten mauern dort schlafen katzen kinder lesen gern lange",
}


def sentences(language: str, count: int, seed: int = 0) -> list[str]:
    """Distinct word salads of 3 to 12 words."""
    draw = random.Random(f"{language}{seed}")
    words = WORDS[language].split()
    lines: dict[str, None] = {}
    while len(lines) < count:
        lines[" ".join(draw.choices(words, k=draw.randint(3, 12)))] = None
    return list(lines)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`en.txt` and `de.txt`, 300 lines each."""
    folder = tmp_path_factory.mktemp("text")
    for language in WORDS:
        lines = sentences(language, 300)
        (folder / f"{language}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random 4-layer BERT of width 16 and its WordPiece tokenizer."""
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny_bert")
    trainer = BertWordPieceTokenizer(lowercase=False)
    lines = [line for language in WORDS for line in sentences(language, 300)]
    trainer.train_from_iterator(lines, vocab_size=120, show_progress=False)
    tokenizer = BertTokenizerFast(tokenizer_object=trainer._tokenizer)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    model = BertForMaskedLM(config)
    with torch.no_grad():  # far enough from uniform that a wrong loss shows
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random 4-layer GPT-2 of width 16 and the tokenizer of `tiny_bert`."""
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("tiny_gpt2")
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    ends = dict.fromkeys(("bos_token_id", "eos_token_id"), tokenizer.sep_token_id)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=32, n_embd=16, n_layer=4, n_head=2, **ends
    )
    model = GPT2LMHeadModel(config)
    with torch.no_grad():  # far enough from uniform that a wrong loss shows
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_classifier(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random BERT that labels texts."""
    return classifier(tiny_bert, tmp_path_factory.mktemp("tiny_classifier"))


@pytest.fixture(scope="session")
def tiny_models(tiny_bert: Path, tiny_gpt2: Path, tiny_classifier: Path) -> dict[str, Path]:
    """By family."""
    return {"bert": tiny_bert, "gpt2": tiny_gpt2, "classifier": tiny_classifier}


@pytest.fixture
def tiny_corpus(text_folder: Path, tmp_path: Path) -> Path:
    """A config file for `configs/data/multilingual_folder.yaml`: `text_folder` in small batches."""
    options = {
        "sources": [{"files": "{language}.txt"}],
        "max_length": 32,
        "batch_tokens": 128,
        "updates_per_epoch": 4,
        "data_dir": str(text_folder),
        "cache_dir": str(tmp_path / "cache"),
    }
    (tmp_path / "text.yaml").write_text(json.dumps({"data": {"init_args": options}}))
    return tmp_path / "text.yaml"


@pytest.fixture(scope="session")
def hub_server() -> Iterator[HubServer]:
    """A hub of this machine; `hub` gives it to a test."""
    with serving() as server:
        yield server


@pytest.fixture
def hub(hub_server: HubServer) -> HubServer:
    """The hub, answering well and with nothing asked yet."""
    hub_server.faults.clear()
    hub_server.requests.clear()
    return hub_server


@pytest.fixture(scope="session")
def hub_client(
    hub_server: HubServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HubClient]:
    """Runs programs that use it; they share a cache, so every test has names of its own."""
    with client(hub_server.endpoint, tmp_path_factory.mktemp("hub_home")) as running:
        yield running
