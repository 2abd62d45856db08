"""Datasets by name, from a hub on this machine that can misbehave."""

from __future__ import annotations

import gzip
import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_client import TIMEOUT, HubClient
from hub_server import Fault, HubServer

pytestmark = pytest.mark.rotated(3)  # they wait

SECRET = "hf_OfNobodysConcern"
IN_SECONDS = TIMEOUT + 10


def parquet(*texts: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts)}), file, row_group_size=1000)
    return file.getvalue()


def rows(name: str, **options: object) -> str:
    """A program that prints the first text and how many there are."""
    return f"r = list(HubReader({name!r}, **{options!r}).rows()); print(r[0], len(r))"


@pytest.fixture
def name(hub: HubServer) -> str:
    """That no other test has."""
    return f"lab/corpus-{len(hub.repositories)}"


@pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])
def test_a_private_dataset_at_a_pinned_revision(
    hub: HubServer, hub_client: HubClient, name: str, streaming: bool
) -> None:
    file = "data/train-00000.parquet"
    first = hub.add(name, {file: parquet("old", "older")}, kind="datasets", token=SECRET)
    hub.add(name, {file: parquet("new")}, kind="datasets")
    hub.add(name, {file: parquet("other")}, branch="v2", kind="datasets")

    def read(revision: str | None, **environment: str) -> str:
        program = rows(name, revision=revision, streaming=streaming)
        outcome = hub_client.run(program, HF_TOKEN=SECRET, **environment)
        assert SECRET not in outcome.output
        return outcome.printed

    assert read(first) == "old 2"
    assert read(None) == "new 1"
    assert read("v2", HF_DEBUG="1") == "other 1"
    refused = hub_client.run(rows(name, streaming=streaming)).error
    assert "for a private or gated dataset set the environment variable HF_TOKEN" in refused
    unknown = hub_client.run(rows(name, revision="v9", streaming=streaming), HF_TOKEN=SECRET).error
    assert unknown.startswith(f"{name} has no revision 'v9' on the hub: give a branch")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(silent=True), f"gives no answer in {TIMEOUT} s"),
        (Fault(status=429, headers={"Retry-After": "300"}), "asks to wait 300 s"),
        (Fault("/api/*/tree/*", silent=True), f"gives no answer in {TIMEOUT} s"),
        (Fault("*.parquet", "GET", status=503), "is out of order (HTTP 503)"),
    ],
    ids=["silent", "limited", "silent listing", "broken files"],
)
def test_a_hub_in_trouble_is_given_up(
    hub: HubServer, hub_client: HubClient, name: str, fault: Fault, said: str
) -> None:
    hub.add(name, {"data/train-00000.parquet": parquet("old")}, kind="datasets")
    hub.faults.append(fault)
    outcome = hub_client.run(rows(name))
    assert said in outcome.error
    assert "or give local files (`files:`)" in outcome.error
    assert outcome.seconds < IN_SECONDS + TIMEOUT


def test_a_dataset_that_is_not_there(hub_client: HubClient) -> None:
    outcome = hub_client.run(rows("lab/nothing"))
    assert "lab/nothing is neither a local folder nor on the hub for you to read" in outcome.error
    assert outcome.seconds < TIMEOUT + 10  # importing takes its part on a busy machine


@pytest.mark.rotated(4)  # the libraries wait and try again
@pytest.mark.parametrize("times", [1, 1_000_000], ids=["once", "for good"])
def test_a_stream_that_breaks(hub: HubServer, hub_client: HubClient, name: str, times: int) -> None:
    """A gzip of text arrives in pieces, and the connection is cut in one of them."""
    draw = random.Random(0)
    lines = "".join(f"{draw.getrandbits(400)}\n" for _ in range(20_000))
    hub.add(name, {"train.txt.gz": gzip.compress(lines.encode())}, kind="datasets")
    hub.faults.append(Fault("*.txt.gz", "GET", times=times, cut=500_000))
    outcome = hub_client.run(rows(name, streaming=True))
    if times == 1:
        assert outcome.printed.split() == [lines.split()[0], "20000"]
    else:
        assert "broke off" in outcome.error
        assert "give local files" in outcome.error
        assert outcome.seconds < 100


@pytest.mark.parametrize("streaming", [False, True], ids=["downloaded", "streamed"])
def test_prompts_and_responses_of_a_dataset(
    hub: HubServer, hub_client: HubClient, name: str, streaming: bool
) -> None:
    """Columns of one split side by side, a language by its column."""
    table = {"q": ["one?", "zwei?", "three?"], "a": ["1", "2", ""], "lang": ["en", "de", "en"]}
    file = io.BytesIO()
    pq.write_table(pa.table(table), file)
    hub.add(name, {"data/train-00000.parquet": file.getvalue()}, kind="datasets")
    source = {"dataset": name, "prompt": "{q}", "response": "{a}", "streaming": streaming}
    columns = {"language_column": "lang", "languages": ["de", "en"]}
    program = f"""
from pathlib import Path
from data_modules.prompting.sources import PromptSource, resolve_prompts
found = resolve_prompts([PromptSource(**{ {**source, **columns}!r})], Path("."))
print([[str(getattr(r, "reason", r)) for r in texts.train[0].rows()] for texts in found])
"""
    found = hub_client.run(program).printed
    assert found == "[['zwei?2'], ['one?1', 'empty response']]"
    missing = program.replace("{a}", "{answer}")
    assert "no column 'answer'; it has q, a, lang" in hub_client.run(missing).error
