"""What a method reads decides what it is trained on; what contradicts it is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import collate, samples
from command_line import merged, refused
from shipped_methods import OURS, build, quiet_trainer

from data_modules import MaskedTokens, MultilingualCorpus, NextToken, Noised, NoTargets, Source
from data_modules.labelling.collation import Labels
from data_modules.objectives.objectives import Objective, objective_for
from data_modules.prompting.collation import Responses
from lit_distill.__main__ import main
from lit_distill.batch import as_written
from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM, MiniLMv2
from lit_distill.models import TeacherSpec

TEXTS: tuple[Objective, ...] = (MaskedTokens(), NextToken(), NoTargets(), Noised())
EITHER = {"MaskedTokens", "NextToken", "Responses"}
READS = {
    "masked_lm": {"MaskedTokens"},
    "embedding_kd": {"NoTargets"},
    "causal_lm": {"NextToken", "Responses"},
    **{
        name: {"NoTargets", "NextToken", "Responses"}
        for name in ("minilm", "minilm_v2", "hidden_states")
    },
    **dict.fromkeys(
        ("triple_loss", "output_distribution", "co_distillation", "mutual_learning"), EITHER
    ),
    "supervised_kd": {*EITHER, "Labels"},
    "fine_tune": {"Labels"},
    "multi_task": {"Labels"},
    **{name: {"Responses"} for name, one in OURS.items() if one.reads_prompts},
}
MINILM = ("-c", "exp.yaml", "--model=MiniLMv2", "--model.relation_heads=4")


class Asking:
    """A data module that is only asked for its objective."""

    def __init__(self, objective: Any, tasks: Any = ()) -> None:
        self.objective, self.tasks = objective, dict.fromkeys(tasks)


@pytest.mark.parametrize("name", OURS)
def test_every_method_refuses_what_it_does_not_read(name: str, tmp_path: Path) -> None:
    method = build(OURS[name], tmp_path)
    tasks = OURS[name].students if OURS[name].by_task else ()
    for objective in (*TEXTS, Responses(), Labels()):
        kind = type(objective).__name__
        if kind in READS[name]:
            method.check_reading(Asking(objective, tasks))
            continue
        with pytest.raises(UserError, match=f"^{type(method).__name__} reads .*: ") as error:
            method.check_reading(Asking(objective, tasks))
        assert "\n" not in str(error.value)
    method.check_reading(Asking(object(), tasks))  # an objective of one's own may be anything
    method.check_reading(None)


@pytest.mark.parametrize("name", OURS)
def test_what_a_method_reads_is_the_objective_where_none_is_given(
    name: str, tmp_path: Path
) -> None:
    reads = build(OURS[name], tmp_path).reads

    class Tokenizer:
        mask_token_id: int | None = 4

    masked, causal = Tokenizer(), Tokenizer()
    causal.mask_token_id = None
    found = (objective_for(reads, masked), objective_for(reads, causal))
    assert found == {
        "masked_lm": (MaskedTokens(), MaskedTokens()),
        "causal_lm": (NextToken(), NextToken()),
        "embedding_kd": (NoTargets(), NoTargets()),
        "hidden_states": (NoTargets(), NoTargets()),
        "minilm": (NoTargets(), NoTargets()),
        "minilm_v2": (NoTargets(), NoTargets()),
    }.get(name, (MaskedTokens(), NextToken()))


def test_a_method_swapped_by_config_is_trained_on_what_it_reads(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MiniLMv2 read 167 of 1,020 ids as masks; its report had no numbers."""
    config = merged(capsys, *MINILM)
    assert config["data"]["init_args"]["objective"] == {
        "class_path": "data_modules.NoTargets",
        "init_args": {},
    }
    assert merged(capsys, "-c", "exp.yaml")["data"]["init_args"]["objective"] is None
    asked = merged(capsys, "-c", "exp.yaml", "--model=CausalLM")["data"]["init_args"]["objective"]
    assert asked == {"class_path": "data_modules.NextToken", "init_args": {"bos": False}}
    masks, losses = [], MiniLMv2.losses

    def seen(self: MiniLMv2, batch: Any, window: Any) -> Any:
        masks.append(int((batch["input_ids"] == self.tokenizer.mask_token_id).sum()))
        return losses(self, batch, window)

    monkeypatch.setattr(MiniLMv2, "losses", seen)
    callbacks = "--trainer.callbacks=[{class_path: ExportStudent}]"
    assert main(["fit", *MINILM, callbacks, "--run_dir=run", "--trainer.val_check_interval=1"]) == 0
    assert len(masks) > 2  # training and validation
    assert not any(masks)
    report = json.loads(Path("run/report.json").read_text())
    for entry in (report["best"], report["last"]):
        own = entry["students"]["student"]
        assert {"loss", "query", "key", "value"} == own["mean"].keys()
        assert own["languages"].keys() == {"de", "en"}
        for numbers in (own["mean"], *own["languages"].values()):
            terms = [numbers[name] for name in ("query", "key", "value")]
            assert numbers["loss"] == pytest.approx(sum(terms))
            assert min(terms) > 0
        means = [numbers["loss"] for numbers in own["languages"].values()]
        assert min(means) <= own["mean"]["loss"] <= max(means)


def test_masked_text_for_a_method_of_plain_text_is_refused_before_it_is_tokenised(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = refused(capsys, "fit", *MINILM, "--data.objective=MaskedTokens", "--run_dir=run")
    assert found == (
        "MiniLMv2 reads NoTargets or NextToken, and the data's objective is MaskedTokens: leave "
        "data.init_args.objective out, or use another method."
    )
    assert not Path("run/cache").exists()
    found = refused(capsys, "fit", "-c", "exp.yaml", "--model=GKD", "--run_dir=run")
    assert found == (
        "GKD reads prompts with responses, and MultilingualCorpus has texts: use a PromptCorpus, "
        "or another method."
    )


def test_the_trainer_alone_refuses_too(tmp_path: Path) -> None:
    method = build(OURS["masked_lm"], tmp_path)
    assert isinstance(method, MaskedLM)
    with pytest.raises(UserError, match="MaskedLM reads MaskedTokens, and Asking has prompts"):
        method.check_reading(Asking(Responses()))


def test_hidden_tokens_can_be_shown() -> None:
    texts = samples(8, 100)
    batch = collate(texts)
    shown = as_written(batch)
    rows = batch["rows"]
    assert shown["input_ids"].flatten()[rows].equal(batch["targets"])
    same = torch.ones(batch["input_ids"].numel(), dtype=torch.bool)
    same[rows] = False
    assert shown["input_ids"].flatten()[same].equal(batch["input_ids"].flatten()[same])
    batch["counts"]["masked"] = 0
    assert as_written(batch) is batch


def test_the_trainer_alone_decides_too(tiny_bert: Path, text_folder: Path, tmp_path: Path) -> None:
    """Without the command line: what is trained by a method is what it reads."""
    module = MiniLMv2(teacher=TeacherSpec(str(tiny_bert)), relation_heads=4)
    data = MultilingualCorpus(
        [Source(files="{language}.txt")],
        data_dir=str(text_folder),
        cache_dir=str(tmp_path / "cache"),
        tokenizer=str(tiny_bert),
        max_length=16,
        batch_tokens=128,
        updates_per_epoch=2,
        validation_windows=3,
    )
    quiet_trainer(precision="32-true", default_root_dir=tmp_path).fit(module, datamodule=data)
    assert data.objective == NoTargets()
