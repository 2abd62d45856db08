"""Several teachers heard as one: by a method, by its measurement, and in its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Trainer
from transformers import BertConfig, BertForMaskedLM

from lit_distill.errors import UserError
from lit_distill.losses import ForwardKL, MeanOfLogits, MeanOfProbabilities, SumOfDivergences
from lit_distill.methods import MaskedLM, MiniLM, TripleLoss
from lit_distill.models import Ensemble, LayerCopyStudent, TeacherSpec, load_tokenizer, teach
from lit_distill.schedules import Constant


@pytest.fixture
def folders(tiny_bert: Path, tmp_path: Path) -> dict[str, Path]:
    """Two teachers of one vocabulary and different widths and depths."""
    tokenizer = load_tokenizer(str(tiny_bert))
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=16, max_position_embeddings=32,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    return {"first": tiny_bert, "wide": tmp_path / "wide"}


def fit(
    first: Path, ensemble: Ensemble, tmp_path: Path, method_class: Any = TripleLoss, **knobs: Any
) -> Any:
    """One update in float64, of rate 1."""
    method = method_class(
        teacher=TeacherSpec(str(first)),
        ensemble=ensemble,
        student=LayerCopyStudent(),
        dropout=0.0,
        schedule=Constant(warmup=0.0),
        optimizer=lambda groups: torch.optim.SGD(groups, lr=1.0),
        **knobs,
    )
    loop = Trainer(
        accelerator="cpu", precision="64-true", max_steps=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, log_every_n_steps=1, default_root_dir=tmp_path,
    )  # fmt: skip
    batch = collate(samples(6, 100))
    loop.fit(method, datamodule=Served([[batch]], [batch], load_tokenizer(str(first))))
    return method


def weights(method: TripleLoss) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in method.student.parameters()])


@pytest.mark.parametrize("combine", ["probabilities", "logits", "divergences"])
def test_two_equal_teachers_are_one(tiny_bert: Path, tmp_path: Path, combine: Any) -> None:
    """The cosine term included; whatever the weights."""
    alone = fit(tiny_bert, Ensemble(), tmp_path)
    twin = Ensemble({"twin": TeacherSpec(str(tiny_bert))}, [3.0, 1.0], combine)
    both = fit(tiny_bert, twin, tmp_path)
    torch.testing.assert_close(weights(both), weights(alone), rtol=1e-11, atol=1e-11)
    for language, scores in alone.measurements["student"].languages.items():
        found = both.measurements["student"].languages[language]
        for name in ("kl", "teacher_loss"):
            assert found[name] == pytest.approx(scores[name])


@pytest.mark.parametrize("combine", ["probabilities", "logits", "divergences"])
def test_teachers_of_other_widths(folders: dict[str, Path], tmp_path: Path, combine: Any) -> None:
    """What is learnt from is what is measured against."""
    other = Ensemble({"wide": TeacherSpec(str(folders["wide"]))}, [1.0, 2.0], combine)
    method = fit(folders["first"], other, tmp_path, alpha_cos=0.0)
    batch, models = collate(samples(3, 100)), list(method.teachers.values())
    rows = batch["rows"]
    taught = teach([model.double() for model in models], other, batch)
    each = [m.logits(m.encode(batch).rows(rows)) for m in models]
    signal = taught.with_signal(lambda said: said, rows)
    kinds = {"probabilities": MeanOfProbabilities, "logits": MeanOfLogits}
    assert type(signal) is kinds.get(combine, SumOfDivergences)
    mean = (torch.softmax(each[0], -1) + 2 * torch.softmax(each[1], -1)) / 3
    if combine == "logits":
        mean = torch.softmax((each[0] + 2 * each[1]) / 3, -1)
    torch.testing.assert_close(torch.softmax(taught.logits(rows), -1), mean)
    assert ForwardKL()(taught.logits(rows), mean.log()).abs().max() < 1e-12
    checkpoint: dict[str, Any] = {}
    method.on_save_checkpoint(checkpoint)
    assert set(checkpoint["lit_distill"]["teachers"]) == {"teacher", "wide"}


def test_what_does_not_fit_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"give 2 positive numbers"):
        Ensemble({"b": TeacherSpec("b")}, [1.0])
    with pytest.raises(UserError, match="the first teacher's"):
        Ensemble({"teacher": TeacherSpec("b")})
    other = Ensemble({"wide": TeacherSpec(str(folders["wide"]))})
    with pytest.raises(UserError, match=r"names wide and there is no first teacher"):
        MaskedLM(ensemble=other)
    with pytest.raises(UserError, match=r"MiniLM compares with one teacher, and .* names wide"):
        fit(folders["first"], other, tmp_path, MiniLM)
    with pytest.raises(UserError, match=r"16 wide and those of wide 24.*alpha_cos to 0"):
        fit(folders["first"], other, tmp_path)
    with pytest.raises(UserError, match=r"alpha_mse.*combine=logits"):
        fit(folders["first"], other, tmp_path, alpha_cos=0.0, alpha_mse=1.0)
