"""The measure of classifiers against a slow oracle, torchmetrics, and itself on two ranks."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Callback, LightningModule, Trainer
from scipy.spatial.distance import jensenshannon
from torch import nn
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_f1_score,
)
from transformers import BertConfig, BertForMaskedLM

from callbacks import PerLanguage, TeacherAgreement
from lit_distill.batch import Batch, row_languages
from lit_distill.errors import UserError
from lit_distill.measures import logits as measurement
from lit_distill.measures.labels import LabelCounts, LabelMeasure
from lit_distill.measures.logits import Tile
from lit_distill.methods import MaskedLM
from lit_distill.models import FreshStudent, LanguageModel

LABELS = 12  # of which 9 and more are never right


def classifier(seed: int) -> LanguageModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=LABELS, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return LanguageModel(model.eval())


def labelled(seed: int) -> Batch:
    batch = collate(samples(9, LABELS, seed=seed))
    draw = torch.Generator().manual_seed(seed)
    targets = torch.randint(9, (len(batch["rows"]),), generator=draw)
    return Batch(**{**batch, "targets": targets})


MODELS = [classifier(seed) for seed in range(2)]
BATCHES = [labelled(seed) for seed in range(4)]


class Classifier(MaskedLM):
    """Models in memory, compared on labels."""

    measured_by = LabelMeasure

    def configure_model(self) -> None:
        if not self.students:
            self.students["student"], self.teachers["teacher"] = copy.deepcopy(MODELS)


class PerRank(Served):
    def val_dataloader(self) -> Any:
        assert self.trainer is not None
        own = (self.validation or [])[self.trainer.global_rank :: self.trainer.world_size]
        return type(super().val_dataloader())(own)


class Keep(Callback):
    """Writes down what was measured: with forked ranks the parent sees nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        measured = pl_module.measurements["student"]
        values = {"mean": measured.mean, **measured.languages}
        self.path.with_suffix(f".{trainer.global_rank}").write_text(json.dumps(values))


def method() -> Classifier:
    return Classifier(student=FreshStudent("bert", {}))


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", precision="64-true", logger=False, default_root_dir=folder,
        callbacks=list(callbacks), enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, **options,
    )  # fmt: skip


def oracle(rows: list[tuple[list[float], list[float], int]]) -> dict[str, float | None]:
    """Scores by the definitions, of (student's logits, teacher's logits, label)."""

    def log_softmax(z: list[float]) -> list[float]:
        total = math.log(math.fsum(math.exp(value) for value in z))
        return [value - total for value in z]

    def best(z: list[float]) -> int:
        return max(range(len(z)), key=lambda index: z[index])

    loss = kl = taught = 0.0
    for student, teacher, label in rows:
        log_q, log_p = log_softmax(student), log_softmax(teacher)
        loss, taught = loss - log_q[label], taught - log_p[label]
        kl += math.fsum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))
    given, wanted = [best(s) for s, _, _ in rows], [label for _, _, label in rows]
    f1 = []
    for label in {*given, *wanted}:
        right = sum(g == w == label for g, w in zip(given, wanted, strict=True))
        precision = right / given.count(label) if label in given else 0.0
        recall = right / wanted.count(label) if label in wanted else 0.0
        both = precision + recall
        f1.append(2 * precision * recall / both if both else 0.0)
    count = len(rows)
    probabilities = [
        [torch.tensor(z, dtype=torch.float64).softmax(0) for z in row[:2]] for row in rows
    ]
    loyal = [1 - float(jensenshannon(p, q, base=2)) for q, p in probabilities]
    taught_by = [best(t) for _, t, _ in rows]
    triples = list(zip(given, taught_by, wanted, strict=True))
    both = [g == t for g, t, w in triples if g != w and t != w]
    lost = [g != w for g, t, w in triples if t == w]
    errors = [
        float(multiclass_calibration_error(torch.stack(made), torch.tensor(wanted), LABELS, 15))
        for made in zip(*probabilities, strict=True)
    ]
    return {
        "ece": errors[0],
        "teacher_ece": errors[1],
        "probability_loyalty": math.fsum(loyal) / count,
        "inherited": sum(both) / len(both) if both else None,
        "invented": sum(lost) / len(lost) if lost else None,
        "rows": count,
        "loss": loss / count,
        "accuracy": sum(g == w for g, w in zip(given, wanted, strict=True)) / count,
        "macro_f1": sum(f1) / len(f1),
        "label_loyalty": sum(best(s) == best(t) for s, t, _ in rows) / count,
        "kl": kl / count,
        "teacher_loss": taught / count,
    }


def same(found: dict[str, float | None], expected: dict[str, float | None]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        within = 1e-6 if name.endswith("ece") else 1e-12  # torchmetrics counts these in float32
        assert found[name] == (value if value is None else pytest.approx(value, abs=within)), name


def logits_of(batch: Batch, model: LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        return model.logits(model.encode(batch).rows(batch["rows"]))


def test_scores_equal_the_oracle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurement, "ROWS_PER_TILE", 5)
    module = method()
    loop = trainer(tmp_path, PerLanguage(), TeacherAgreement())
    loop.validate(module, datamodule=Served([[]], BATCHES), verbose=False)
    rows: dict[str, list[Any]] = {"xx": [], "yy": []}
    models = [model.double() for model in copy.deepcopy(MODELS)]
    for batch in BATCHES:
        pairs = (logits_of(batch, model).tolist() for model in models)
        languages, targets = row_languages(batch).tolist(), batch["targets"].tolist()
        for student, teacher, label, language in zip(*pairs, targets, languages, strict=True):
            rows["xy"[language] * 2].append((student, teacher, label))
    expected = {name: oracle(own) for name, own in rows.items()}
    measured = module.measurements["student"]
    for name, scores in expected.items():
        same(measured.languages[name], scores)
    shared = ("loss", "accuracy", "macro_f1", "label_loyalty", "kl", "probability_loyalty")
    for key in shared:
        mean = (expected["xx"][key] + expected["yy"][key]) / 2
        assert measured.mean[key] == pytest.approx(mean, rel=1e-12)
        assert float(loop.callback_metrics[f"val/{key}"]) == pytest.approx(mean, rel=1e-6)
        assert float(loop.callback_metrics[f"val/yy/{key}"]) == pytest.approx(expected["yy"][key])


def test_two_ranks_measure_what_one_does(tmp_path: Path) -> None:
    """They have different numbers of batches."""
    for ranks in (1, 2):
        options = {"strategy": "ddp_fork", "devices": 2} if ranks == 2 else {}
        loop = trainer(tmp_path, Keep(tmp_path / str(ranks)), **options)
        loop.validate(method(), datamodule=PerRank([[], []], BATCHES[:3]), verbose=False)
    alone = json.loads((tmp_path / "1.0").read_text())
    for rank in (0, 1):
        found = json.loads((tmp_path / f"2.{rank}").read_text())
        assert found.keys() == alone.keys()
        for name, scores in alone.items():
            same(found[name], scores)


def test_macro_f1_is_that_of_torchmetrics() -> None:
    counts, draw = LabelCounts(3, 6), torch.Generator().manual_seed(0)
    logits, targets = torch.randn(40, 6, generator=draw), torch.randint(4, (40,), generator=draw)
    logits[:, 5] = -9.0  # neither given nor to be given
    languages = torch.randint(2, (40,), generator=draw)
    counts.update(Tile(logits, None, targets), languages)
    for language in range(2):
        own = languages == language
        expected = multiclass_f1_score(logits[own], targets[own], 6, average="macro")
        assert counts.compute()[language].item() == pytest.approx(expected.item())
    assert counts.compute()[2].isnan()  # nobody asks for a language without rows


class Regression(Classifier):
    def configure_model(self) -> None:
        super().configure_model()
        self.student.model.cls.predictions.decoder = nn.Linear(16, 1)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        raise AssertionError("no step is made")


@pytest.mark.parametrize("command", ["fit", "validate"])
def test_regression_is_refused_before_the_first_step(command: str, tmp_path: Path) -> None:
    loop = trainer(tmp_path, max_steps=1, num_sanity_val_steps=0)
    module = Regression(student=FreshStudent("bert", {}))
    data = Served([BATCHES], BATCHES)
    with pytest.raises(UserError, match=r"one output, as regression has, and LabelMeasure compar"):
        getattr(loop, command)(module, datamodule=data)
