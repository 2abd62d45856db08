"""EmbeddingKD against Transformers' own states: who reads what, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import random_model
from batches import Sample, collate, samples
from shipped_methods import quiet_trainer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from data_modules import Noised, NoTargets, ParallelCorpus, ParallelSource
from lit_distill.batch import Batch, PairBatch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow
from lit_distill.methods import EmbeddingKD
from lit_distill.models import LayerCopyStudent, PretrainedStudent, TeacherSpec
from lit_distill.models.embedding.embedder import Embedder

LAYERS = 4
TEXTS = samples(5, 100)
SAID = [Sample(t.number, [7, 8, *t.ids, 9], [m + 2 for m in t.masked], t.targets, 0) for t in TEXTS]
"""The same texts with two words before them and one behind."""


def built(folder: Path, layers: int = 1, **knobs: Any) -> EmbeddingKD:
    method = EmbeddingKD(teacher=TeacherSpec(str(folder)), **knobs)
    method.trainer = quiet_trainer()
    teacher = method.cast.teacher_specs["teacher"].build().double()
    method.teachers["teacher"] = teacher
    method.students["student"] = LayerCopyStudent(num_layers=layers).build(teacher, 0).double()
    method.on_models_built()
    method.exported.double()
    return method


def two_views() -> PairBatch:
    views = {"src_": collate(TEXTS), "tgt_": collate(SAID)}
    found: dict[str, Any] = {
        f"{view}{key}": value for view, batch in views.items() for key, value in batch.items()
    }
    return PairBatch(**{**found, **views["tgt_"]})  # type: ignore[typeddict-item]


def mean_states(model: Any, texts: list[Sample]) -> Tensor:
    """Means of the last hidden states by Transformers, one text after the other."""
    means = []
    for text in texts:
        ids = collate([text])["input_ids"]
        states = model.model.base_model(input_ids=ids).last_hidden_state
        means.append(states[0].mean(0))
    return torch.stack(means)


def values(method: EmbeddingKD, batch: Batch) -> dict[str, float]:
    terms = method.losses(batch, AccumulationWindow.single(batch))
    assert {term.per for term in terms.values()} == {"sequences"}
    return {name: term.sum.item() / batch["counts"]["sequences"] for name, term in terms.items()}


def test_the_teacher_reads_the_source_and_the_student_the_target(tiny_bert: Path) -> None:
    method = built(tiny_bert, alpha_cosine=1.0)
    found = values(method, two_views())
    with torch.no_grad():
        student = mean_states(method.student, SAID)
        teacher = mean_states(method.teacher, TEXTS)
    assert found["mse"] == pytest.approx(float((student - teacher).square().mean()), rel=1e-12)
    cosines = torch.nn.functional.cosine_similarity(student, teacher)
    assert found["cosine"] == pytest.approx(float(1 - cosines.mean()), rel=1e-9)


def test_without_views_a_copy_of_the_teacher_has_nothing_to_learn(tiny_bert: Path) -> None:
    weights = {"alpha_cosine": 1.0, "alpha_similarity": 1.0}
    same = built(tiny_bert, LAYERS, **weights)
    assert values(same, collate(TEXTS)) == pytest.approx(
        {"mse": 0, "cosine": 0, "similarity": 0}, abs=1e-12
    )
    assert min(values(built(tiny_bert, **weights), collate(TEXTS)).values()) > 1e-9


def test_a_projection_is_trained_and_exported_and_the_head_is_frozen(tiny_bert: Path) -> None:
    method = built(tiny_bert, embedder=Embedder(width=16, normalised=True))
    batch = collate(TEXTS)
    method.losses(batch, AccumulationWindow.single(batch))["mse"].sum.backward()
    (projection,) = method.cast.exported_modules.values()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in projection.parameters())
    trained = [p for p in method.student.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)
    assert len(trained) < len(list(method.student.parameters()))


def test_other_widths_need_a_projection_where_vectors_are_compared(tiny_bert: Path) -> None:
    narrow = Embedder(width=4)
    with pytest.raises(UserError, match=r"4 numbers and the teacher's 16: set model.embedder"):
        built(tiny_bert, embedder=narrow)
    free = built(tiny_bert, embedder=narrow, alpha_mse=0.0, alpha_similarity=1.0)
    assert values(free, collate(TEXTS))["similarity"] > 0


def test_packed_rows_and_weights_of_nothing_are_refused(tiny_bert: Path) -> None:
    batch = collate(TEXTS)
    batch["segments"] = batch["attention_mask"]
    with pytest.raises(UserError, match="one text a row"):
        values(built(tiny_bert), batch)
    with pytest.raises(UserError, match="alpha_mse"):
        EmbeddingKD(teacher=TeacherSpec("x"), alpha_mse=0.0)


def test_what_the_teacher_cannot_read_is_refused_before_the_first_step(
    tiny_bert: Path, tmp_path: Path
) -> None:
    """By a run on pairs: targets are cut by the student's tokenizer, sources by another."""
    other = word_level(tmp_path / "other")
    pairs = tmp_path / "pairs.jsonl"
    rows = ({"en": f"the cat {n}", "de": f"der {n} wall house"} for n in range(80))
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def fit(teacher: Path, **options: Any) -> EmbeddingKD:
        given: dict[str, Any] = {
            "sources": [ParallelSource(str(pairs), columns={"en": "en", "de": "de"})],
            "src_languages": ["en"], "tgt_languages": ["de"], "objective": NoTargets(),
            "tokenizer": str(tiny_bert), "cache_dir": str(tmp_path / "cache"), "holdout": 5,
            "batch_tokens": 256, "max_length": 16, **options,
        }  # fmt: skip
        method = EmbeddingKD(
            student=PretrainedStudent(str(tiny_bert)), teacher=TeacherSpec(str(teacher)),
            alpha_similarity=1.0,
        )  # fmt: skip
        quiet_trainer(max_steps=2, limit_val_batches=1).fit(method, ParallelCorpus(**given))
        return method

    found = fit(other, src_tokenizer=str(other)).measurements["student"].languages["en>de"]
    assert all(value is not None and 0 < value < 100 for value in found.values())
    with pytest.raises(UserError, match="the view that it reads"):
        fit(other)
    with pytest.raises(UserError, match="src_objective hides some of their tokens"):
        fit(other, src_tokenizer=str(other), src_objective=Noised())
    with pytest.raises(UserError, match="holds 32: lower"):
        fit(other, src_tokenizer=str(other), max_length=64)


def word_level(folder: Path) -> Path:
    """A small BERT with words of its own, in an order of its own, that reads 32 positions."""
    words = ["[PAD]", "[MASK]", "[UNK]", "[CLS]", "[SEP]", *reversed(WORDS), "the", "der"]
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", mask_token="[MASK]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]",
    )  # fmt: skip
    fast.save_pretrained(folder)
    model = random_model("bert", vocab_size=len(words), max_position_embeddings=32, hidden_size=16)
    model.save_pretrained(folder)
    return folder


WORDS = ["cat", "wall", "house", *map(str, range(80))]
