"""Models and tokenizers by name, from a hub on this machine that can misbehave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_client import TIMEOUT, HubClient
from hub_server import Fault, HubServer
from safetensors.torch import load_file, save

from lit_distill.models import TeacherSpec, fingerprint

pytestmark = pytest.mark.rotated(3)  # they wait

Publish = Callable[..., str]
SECRET = "hf_OfNobodysConcern"
IN_SECONDS = TIMEOUT + 20  # of which importing takes half on a busy machine


def teacher(name: str, revision: str | None = None) -> str:
    """A program that prints the hash of a model's weights."""
    return f"print(fingerprint(TeacherSpec({name!r}, {revision!r}).build()))"


def tokenizer(name: str) -> str:
    """A program that prints a tokenizer's longest input."""
    return f"print(load_tokenizer({name!r}).model_max_length)"


@pytest.fixture(scope="module")
def expected(tiny_bert: Path) -> str:
    """The hash of the right weights."""
    return fingerprint(TeacherSpec(str(tiny_bert)).build())


@pytest.fixture
def publish(hub: HubServer, tiny_bert: Path) -> Publish:
    """Puts the tiny model on the hub, under a name that no other test has."""

    def put(**rights: str | bool) -> str:
        name = f"lab/model-{len(hub.repositories)}"
        hub.add(name, tiny_bert, **rights)
        return name

    return put


# -- what is asked for arrives -------------------------------------------------------------------


def test_a_pinned_revision_brings_its_own_weights_and_tokenizer(
    hub: HubServer,
    hub_client: HubClient,
    publish: Publish,
    tiny_bert: Path,
    expected: str,
) -> None:
    name = publish()
    first = hub.repositories["models", name].branches["main"]
    weights = load_file(tiny_bert / "model.safetensors")
    settings = json.loads((tiny_bert / "tokenizer_config.json").read_text())
    newer = {
        "model.safetensors": save({k: v + 1 for k, v in weights.items()}, {"format": "pt"}),
        "tokenizer_config.json": json.dumps({**settings, "model_max_length": 77}).encode(),
    }
    second = hub.add(name, newer, branch="main")
    both = "; ".join((teacher(name, first), teacher(name), teacher(name, second)))
    outcome = hub_client.run(both)
    pinned, default, named = outcome.output.splitlines()[-3:]
    assert outcome.code == 0
    assert pinned == expected != default == named
    assert int(hub_client.run(tokenizer(f"{name}@{second}")).printed) == 77
    assert int(hub_client.run(tokenizer(f"{name}@{first}")).printed) != 77
    assert not hub.asked(f"/{name}/resolve/{first}/*.bin")


def test_a_private_model_needs_the_token_which_nobody_sees(
    hub: HubServer, hub_client: HubClient, publish: Publish, expected: str
) -> None:
    name = publish(token=SECRET)
    refused = hub_client.run(teacher(name))
    assert "neither a local folder nor on the hub" in refused.error
    assert "HF_TOKEN" in refused.error
    wrong = hub_client.run(teacher(name), HF_TOKEN="hf_SomebodyElses")
    assert "the token that is set may not read it" in wrong.error
    assert "SomebodyElses" not in wrong.output
    allowed = hub_client.run(teacher(name), HF_TOKEN=SECRET, HF_DEBUG="1")
    assert allowed.printed == expected
    assert SECRET not in allowed.output
    assert {request.token for request in hub.requests} == {None, "hf_SomebodyElses", SECRET}


# -- what is refused -----------------------------------------------------------------------------


def test_names_revisions_and_gates_are_told_apart(hub_client: HubClient, publish: Publish) -> None:
    name = publish(gated=True, token=SECRET)
    assert f"The model {name} is gated: ask for access" in hub_client.run(teacher(name)).error
    stranger = hub_client.run(teacher(name), HF_TOKEN="hf_SomebodyElses").error
    assert "is gated" in stranger
    unknown = hub_client.run(teacher(name, "v9"), HF_TOKEN=SECRET).error
    assert unknown.startswith(f"{name} has no revision 'v9' on the hub: give a branch")
    missing = hub_client.run(teacher("lab/no-such"), HF_TOKEN=SECRET).error
    assert "check the name" in missing
    expired = hub_client.run(tokenizer("lab/no-such"), HF_TOKEN="expired").error
    assert "HF_TOKEN" in expired


# -- a hub in trouble ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["*/config.json", "*/model.safetensors", "*/tokenizer_config.json"]
)
def test_a_rate_limit_is_waited_for(
    hub: HubServer, hub_client: HubClient, publish: Publish, path: str, expected: str
) -> None:
    name = publish()
    hub.faults.append(Fault(path, times=1, status=429, headers={"Retry-After": "2"}))
    outcome = hub_client.run(f"load_tokenizer({name!r}); {teacher(name)}")
    assert outcome.printed == expected
    assert "asking again in 2 s" in outcome.output
    refused, again = hub.asked(path)[:2]
    assert 2 <= again.when - refused.when < 4


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "300"}, {"RateLimit": '"api";r=0;t=300'}], ids=["after", "limit"]
)
def test_a_rate_limit_of_minutes_is_not(
    hub: HubServer, hub_client: HubClient, publish: Publish, headers: dict[str, str]
) -> None:
    name = publish()
    hub.faults.append(Fault("*/model.safetensors", status=429, headers=headers))
    outcome = hub_client.run(teacher(name))
    assert "(HTTP 429) and asks to wait 300 s; wait and start again, or set HF_TOK" in outcome.error
    assert outcome.seconds < IN_SECONDS
    hub.faults[0].path = "*"
    unknown = hub_client.run(teacher(name + "-2"))
    assert "(HTTP 429)" in unknown.error
    assert "give a local folder" in unknown.error
    assert unknown.seconds < IN_SECONDS


def test_a_tokenizer_is_not_opened_without_the_files_that_a_hub_out_of_order_keeps(
    hub: HubServer, hub_client: HubClient, publish: Publish
) -> None:
    """Transformers takes them for missing ones."""
    name = publish()
    hub.faults.append(Fault("*/tokenizer_config.json", status=500))
    outcome = hub_client.run(tokenizer(name))
    assert f"The tokenizer {name} cannot be loaded: 127.0.0.1" in outcome.error
    assert "is out of order (HTTP 500). Start again" in outcome.error
    assert outcome.seconds < IN_SECONDS


@pytest.mark.parametrize("path", ["*", "*/model.safetensors", "/api/models/*"])
def test_a_silent_hub_is_given_up(
    hub: HubServer, hub_client: HubClient, publish: Publish, path: str
) -> None:
    name = publish()
    hub.faults.append(Fault(path, silent=True))
    program = f"load_tokenizer({name!r}); {teacher(name)}"
    outcome = hub_client.run(program)
    assert f"gives no answer in {TIMEOUT} s" in outcome.error
    assert "a local folder" in outcome.error
    assert outcome.seconds < (TIMEOUT + 3 if path == "*" else 10 + 2 * TIMEOUT + 3)


# -- transfers -----------------------------------------------------------------------------------


def test_a_slow_transfer_arrives(
    hub: HubServer, hub_client: HubClient, publish: Publish, expected: str
) -> None:
    name = publish()
    hub.faults.append(Fault("*/model.safetensors", "GET", pause=0.4))
    outcome = hub_client.run(teacher(name))
    assert outcome.printed == expected
    assert outcome.seconds > max(TIMEOUT, 3)


def test_a_broken_transfer_is_taken_up_again(
    hub: HubServer, hub_client: HubClient, publish: Publish, expected: str
) -> None:
    name = publish()
    hub.faults.append(Fault("*/model.safetensors", "GET", times=1, cut=9000))
    assert hub_client.run(teacher(name)).printed == expected
    assert len(hub.asked("*/model.safetensors", "GET")) == 2


def test_half_a_file_is_never_used(
    hub: HubServer, hub_client: HubClient, publish: Publish, expected: str
) -> None:
    name = publish()
    hub.faults.append(Fault("*/model.safetensors", "GET", cut=0))
    outcome = hub_client.run(teacher(name))
    assert f"The model {name} cannot be loaded: the connection with 127.0.0.1" in outcome.error
    assert "broke off. Start again" in outcome.error
    assert outcome.seconds < IN_SECONDS
    hub.faults.clear()
    assert hub_client.run(teacher(name)).printed == expected
