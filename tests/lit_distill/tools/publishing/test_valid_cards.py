"""Cards of runs pass the hub's validation, and what its library makes of them is what was said."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import yaml
from hub_cards import validated
from hub_client import HubClient
from hub_server import HubServer
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from model_folders import evaluation, pushed, with_accounts

from lit_distill.__main__ import main
from lit_distill.tools.delivering.card import card as onnx_card
from lit_distill.tools.delivering.deliverables.choices import Int8Spec, OnnxSpec, Request
from lit_distill.tools.delivering.deliverables.deliverable import open_deliverable
from lit_distill.tools.delivering.gate.parity import Parity
from lit_distill.tools.publishing.model_card import model_card

pytestmark = pytest.mark.rotated(5)  # they train
CORPUS = {"sentences_per_language": 60, "validation_sentences": 20, "max_length": 32}
RUNS = {
    "encoder": ["methods/triple_loss", "models/half", "data/phrasebook"],
    "decoder": ["methods/supervised_kd", "models/half", "data/phrasebook"],
    "classifier": ["methods/fine_tune", "data/phrasebook_tasks"],
}


@pytest.fixture(scope="module")
def students(
    tiny_bert: Path, tiny_gpt2: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """What runs of two updates export, in languages with and without a code of a hub."""
    folder = tmp_path_factory.mktemp("runs")
    options = {
        "encoder": [f"--model.teacher.name={tiny_bert}"],
        "decoder": [f"--model.teacher.name={tiny_gpt2}", "--data.objective=NextToken"],
        "classifier": ["--model.student=PretrainedStudent", f"--model.student.name={tiny_bert}"],
    }
    common = [f"--data.{name}={value}" for name, value in CORPUS.items()]
    common += ["--data.languages=[en,hi-Latn,hi-en]", f"--data.cache_dir={folder / 'cache'}"]
    common += ["--trainer.max_steps=2", "--trainer.val_check_interval=2"]
    for kind, configs in RUNS.items():
        named = [part for config in ("trainer/cpu", *configs, "optimizers/small_model")
                 for part in ("-c", config)]  # fmt: skip
        assert main(["fit", *named, *common, *options[kind], f"--run_dir={folder / kind}"]) == 0
    return {kind: folder / kind / "student" for kind in RUNS}


def validate(client: HubClient, card: Path) -> None:
    """The hub library's own validation, asked of the hub of the tests."""
    code = f"from huggingface_hub import ModelCard; ModelCard.load({str(card)!r}).validate()"
    outcome = client.run(code)
    assert outcome.code == 0, outcome.output


@pytest.mark.parametrize("kind", RUNS)
def test_the_card_of_a_run_is_valid(
    kind: str, students: dict[str, Path], hub: HubServer, hub_client: HubClient, tmp_path: Path
) -> None:
    path = students[kind] / "README.md"
    before = path.read_text("utf-8")
    try:
        _check(path, hub_client)
        model_card(str(path.parent), str(evaluation(tmp_path / "topics", str(path.parent))))
        assert len(hub.asked("/api/validate-yaml")) == 1
        _check(path, hub_client)
        with_accounts(hub)
        assert pushed(hub_client, path.parent, f"lab/{kind}").printed.startswith("Sent: ")
    finally:
        path.write_text(before, "utf-8")


def _check(path: Path, client: HubClient) -> None:
    validate(client, path)
    with warnings.catch_warnings(action="error"):
        card = ModelCard.load(path)
    assert card.data.language == ["en", "hi"]
    assert card.data.to_dict()["language_bcp47"] == ["hi-Latn"]
    assert all(type(one) is EvalResult for one in card.data.eval_results)
    assert all(type(one.metric_value) is float for one in card.data.eval_results)
    index = eval_results_to_model_index(card.data.model_name, card.data.eval_results)
    assert model_index_to_eval_results(index) == (card.data.model_name, card.data.eval_results)
    header = yaml.safe_load(path.read_text("utf-8").split("---")[1])
    assert ModelCardData(**header).to_dict() == card.data.to_dict()
    assert validated(path.read_text("utf-8")) == ([], [])


def test_the_base_is_told(students: dict[str, Path], tiny_bert: Path) -> None:
    told = {kind: (folder / "README.md").read_text("utf-8") for kind, folder in students.items()}
    assert "- base: layers of the teacher (`LayerCopyStudent`)" in told["encoder"]
    assert f"- base: {tiny_bert} (`PretrainedStudent`)" in told["classifier"]
    assert "tags: [lit_distill]\n" in told["classifier"]  # it had no teacher


def test_the_card_of_an_onnx_file_is_valid_and_has_what_the_gate_found(
    students: dict[str, Path], tiny_bert: Path, hub: HubServer, hub_client: HubClient,
    tmp_path: Path,
) -> None:  # fmt: skip
    from lit_distill.tools.delivering.card import Findings

    row = Parity(9, 1.5e-6, 0.9876, 2e-14, None)
    found = Findings({"float32": {"hi": row}, "int8": {"hi": row}}, {})
    for folder in (students["encoder"], tiny_bert):
        what = open_deliverable(folder, OnnxSpec(), "it")
        (tmp_path / "README.md").write_text(onnx_card(what, Request(Int8Spec()), found), "utf-8")
        validate(hub_client, tmp_path / "README.md")
        card = ModelCard.load(tmp_path / "README.md")
        assert card.data.library_name == "onnxruntime"
        assert "| int8 | hi | 9 | 1.5e-06 | 0.9876 | 2.0e-14 | - |" in card.text
        assert "are those of the model that became this file" in card.text


def test_the_hub_of_the_tests_refuses_what_the_hub_does(
    hub: HubServer, hub_client: HubClient, tmp_path: Path
) -> None:
    """Or all of the above would say nothing. The messages are those that users have quoted."""
    result = "{task: {type: x}, dataset: {type: d, name: d, config: %s}, metrics: %s}"
    wrong = {
        "license: mine": '"license" must be one of',
        "language: [xx]": '"language[0]" with value "xx" is not valid. It must be an ISO 639-1',
        "language: [EN]": "must only contain lowercase characters",
        "language: [no]": '"language[0]" must be a string',
        "tags: one": '"tags" must be an array',
        "datasets: [/here/texts]": '"datasets[0]" with value "/here/texts" is not valid',
        f"model-index: [{{name: x, results: [{result % ('1', '[]')}]}}]": (
            '"model-index[0].results[0].dataset.config" must be a string'
        ),
        f"model-index: [{{name: x, results: [{result % ('a', '{}')}]}}]": (
            '"model-index[0].results[0].metrics" must be an array'
        ),
    }
    for header, said in wrong.items():
        errors, _ = validated(f"---\n{header}\n---\n# x\n")
        assert any(said in one for one in errors), (header, errors)
    (tmp_path / "README.md").write_text("---\nlicense: mine\n---\n# x\n")
    code = f"from huggingface_hub import ModelCard; ModelCard.load({str(tmp_path / 'README.md')!r})"
    assert "ValueError" in hub_client.run(f"{code}.validate()").output
