"""Methods that train no language-model head: what is frozen, what validation measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Fixed, Served, collate, samples
from lightning.pytorch import Callback, LightningModule, Trainer

from callbacks import ExportStudent, MaskedSamples, PerLanguage, TeacherAgreement
from lit_distill.batch import Batch, as_written
from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM, MiniLMv2
from lit_distill.methods.hidden_states._hidden_state_method import HiddenStateMethod
from lit_distill.models import FreshStudent, PretrainedStudent, Student, TeacherSpec, load_tokenizer
from lit_distill.schedules import Ramp

TEXTS = samples(8, 100)
TRAINING = collate(TEXTS)


class PerRank(Served):
    """Each rank validates on texts of its own."""

    def val_dataloader(self) -> Fixed:
        assert self.trainer is not None
        return Fixed([(self.validation or [])[self.trainer.global_rank]])


class Keep(Callback):
    """Writes the metrics down: with forked ranks the parent sees none."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if trainer.is_global_zero:
            self.path.write_text(json.dumps(metrics))


def trainer(folder: Path, **options: Any) -> Trainer:
    defaults = {
        "accelerator": "cpu",
        "max_steps": 1,
        "logger": False,
        "default_root_dir": folder,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return Trainer(**{**defaults, **options})


def method(folder: Path, student: Student | None = None, **knobs: Any) -> MiniLMv2:
    knobs = {"relation_heads": 4, **knobs}
    return MiniLMv2(teacher=TeacherSpec(str(folder)), student=student, dropout=0.0, **knobs)


def test_validation_measures_the_methods_own_losses(tiny_bert: Path, tmp_path: Path) -> None:
    batches = [collate(TEXTS[:3]), collate(TEXTS[3:])]
    module = method(tiny_bert, alpha_value=Ramp(0.0, 3.0))
    loop = trainer(tmp_path)
    loop.fit(module, datamodule=Served([[TRAINING]], batches))
    with torch.no_grad():
        terms = module.eval().losses(as_written(collate(TEXTS)))
    count = TRAINING["counts"]["tokens"]
    expected = {f"val/{name}": term.sum.item() / count for name, term in terms.items()}
    expected["val/loss"] = sum(expected[f"val/{n}"] * w for n, w in WEIGHTS.items())
    found = {name: float(value) for name, value in loop.callback_metrics.items()}
    assert found == pytest.approx(expected, rel=1e-5)
    measured = module.measurements["student"]
    assert {f"val/{name}": value for name, value in measured.mean.items()} == pytest.approx(
        expected
    )
    assert not measured.languages  # in these batches they are mixed


def test_reports_show_the_methods_own_losses_by_language(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batches = [collate([text for text in TEXTS if text.language == n]) for n in (0, 1)]
    watchers = [PerLanguage(), TeacherAgreement(), ExportStudent()]
    loop, module = trainer(tmp_path, callbacks=watchers), method(tiny_bert)
    data = Served([[TRAINING]], batches, load_tokenizer(str(tiny_bert)))
    loop.fit(module, datamodule=data)
    measured = module.measurements["student"]
    for name, scores in measured.languages.items():
        for term, value in scores.items():
            assert float(loop.callback_metrics[f"val/{name}/{term}"]) == pytest.approx(value)
    assert [*measured.languages] == ["xx", "yy"]
    shown = capsys.readouterr().out.splitlines()
    (heading,) = [line.split() for line in shown if "language" in line]
    assert heading == ["language", "loss", "key", "query", "value"]
    card = (tmp_path / "student/README.md").read_text()
    assert "| language | loss | key | query | value |" in card
    cells = [f"{measured.mean[name]:.4f}" for name in ("loss", "key", "query", "value")]
    assert f"| mean | {' | '.join(cells)} |" in card


WEIGHTS = {"query": 1.0, "key": 1.0, "value": 3.0}


@pytest.mark.parametrize("ranks", [1, 2])
def test_every_rank_counts_as_its_texts_do(tiny_bert: Path, tmp_path: Path, ranks: int) -> None:
    parts = [TEXTS] if ranks == 1 else [TEXTS[:1], TEXTS[1:]]
    options = {} if ranks == 1 else {"strategy": "ddp_fork", "devices": 2}
    loop = trainer(tmp_path, callbacks=[Keep(tmp_path / "seen.json")], **options)
    data = PerRank([[TRAINING]] * ranks, [collate(part) for part in parts])  # both train on all
    loop.fit(method(tiny_bert), datamodule=data)
    seen = json.loads((tmp_path / "seen.json").read_text())
    alone = trainer(tmp_path)
    alone.fit(method(tiny_bert), datamodule=Served([[TRAINING]], [collate(TEXTS)]))
    assert seen["val/loss"] == pytest.approx(float(alone.callback_metrics["val/loss"]), rel=1e-5)


def test_the_export_says_what_was_not_trained(tiny_bert: Path, tmp_path: Path) -> None:
    spec = FreshStudent(config={"num_hidden_layers": 2})
    module = method(tiny_bert, spec)
    watchers = [ExportStudent(), PerLanguage(), TeacherAgreement(), MaskedSamples()]
    data = Served([[TRAINING]], [collate(TEXTS)], load_tokenizer(str(tiny_bert)))
    trainer(tmp_path, callbacks=watchers).fit(module, datamodule=data)
    card = (tmp_path / "student/README.md").read_text()
    assert "its language-model head was not trained: fit one (MaskedLM, freeze_body)" in card
    rest = "bert.encoder.layer.1.attention.output, bert.encoder.layer.1.intermediate, "
    (started,) = [line for line in card.splitlines() if "the teacher's values" in line]
    (untrained,) = [line for line in card.splitlines() if "received no gradient" in line]
    assert rest in started
    assert started.endswith(", cls")
    assert "model.bert.encoder.layer.1.output, model.cls" in untrained
    optimised = {id(p) for g in module.trainer.optimizers[0].param_groups for p in g["params"]}
    trained = {id(p) for p in module.student.parameters() if p.requires_grad}
    assert optimised == trained


def test_a_head_is_fitted_on_the_frozen_body(tiny_bert: Path, tmp_path: Path) -> None:
    data = Served([[TRAINING]], [collate(TEXTS)], load_tokenizer(str(tiny_bert)))
    trainer(tmp_path, callbacks=[ExportStudent()]).fit(method(tiny_bert), datamodule=data)
    start = PretrainedStudent(str(tmp_path / "student"))
    before = start.build(None, 0).model.state_dict()
    module = MaskedLM(freeze_body=True, student=start, teacher=TeacherSpec(str(tiny_bert)))
    loop = trainer(tmp_path / "fit", callbacks=[ExportStudent()])
    loop.fit(module, datamodule=data)
    changed = {
        name
        for name, value in module.student.model.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed
    assert all(name.startswith("cls.predictions.") for name in changed)
    assert "cls.predictions.decoder.weight" not in changed
    assert module.measurements["student"].languages["xx"]["agreement"] is not None
    assert (
        "the language-model head trained on a frozen body"
        in (tmp_path / "fit/student/README.md").read_text()
    )


def test_without_its_teacher_there_is_nothing_to_compare_with(
    tiny_bert: Path, tmp_path: Path
) -> None:
    module = method(tiny_bert)
    loop = trainer(tmp_path)
    data = Served([[TRAINING]], [collate(TEXTS)])
    loop.fit(module, datamodule=data)
    loop.save_checkpoint(tmp_path / "a.ckpt")
    gone = method(tmp_path / "gone")
    with pytest.raises(UserError, match=r"MiniLMv2 trains no language-model head.*fit a head"):
        trainer(tmp_path).validate(gone, datamodule=data, ckpt_path=tmp_path / "a.ckpt")


class FirstProjection(HiddenStateMethod):
    """Reads one tensor of the student, and needs no teacher."""

    def probe_student(self) -> list[torch.Tensor]:
        return [self.student.model.bert.embeddings.word_embeddings.weight * 1.0]

    def losses(self, batch: Batch) -> dict[str, Any]:
        raise AssertionError("not in this test")


def test_only_what_a_method_reads_is_trained(tiny_bert: Path) -> None:
    module = FirstProjection(student=PretrainedStudent(str(tiny_bert)))
    module.students["student"] = module.student_specs["student"].build(None, 0)
    module.on_models_built()
    trained = [name for name, p in module.student.model.named_parameters() if p.requires_grad]
    assert trained == ["bert.embeddings.word_embeddings.weight"]
