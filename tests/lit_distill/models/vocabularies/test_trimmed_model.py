"""Teachers that read a trimmed vocabulary: what they say about it, and about what they lost."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
import writers
from batches import collate, samples
from torch import Tensor
from trimmed import trimmed_vocabulary

from lit_distill.batch import IGNORED, Batch
from lit_distill.errors import UserError
from lit_distill.losses import CrossEntropy, ForwardKL, Head, TeacherSignal, row_losses
from lit_distill.models import (
    Ensemble,
    LanguageModel,
    LayerCopyStudent,
    TeacherSpec,
    TrimmedModel,
    VocabularyMap,
    load_tokenizer,
    teach,
)

ROWS = torch.arange(1, 7)


@pytest.fixture(scope="module")
def padded(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT with eight more rows than tokens."""
    folder = tmp_path_factory.mktemp("padded")
    model = TeacherSpec(str(tiny_bert)).build().model
    model.resize_token_embeddings(model.config.vocab_size + 8, mean_resizing=False)
    model.save_pretrained(folder)
    load_tokenizer(str(tiny_bert)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def vocabulary(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cut") / "bert"
    trimmed_vocabulary(tiny_bert, folder)
    return folder


def said(model: LanguageModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Last hidden states of some rows, and their logits."""
    with torch.no_grad():
        states = model.double().encode(batch).rows(ROWS)
        return states, model.logits(states)


def both(bert: Path, vocabulary: Path, lost: str = "renormalise") -> tuple[TrimmedModel, Tensor]:
    """A teacher that reads the vocabulary, and the probabilities (N, W) of the whole one."""
    spec = TeacherSpec(str(bert), vocabulary=str(vocabulary), lost=lost)  # type: ignore[arg-type]
    model = spec.build()
    assert isinstance(model, TrimmedModel)
    _, logits = said(TeacherSpec(str(bert)).build(), old_batch(vocabulary))
    return model.double(), torch.softmax(logits, -1)


def new_batch(vocabulary: Path) -> Batch:
    return collate(samples(3, VocabularyMap.read(vocabulary).size))


def old_batch(vocabulary: Path) -> Batch:
    batch = new_batch(vocabulary)
    batch["input_ids"] = VocabularyMap.read(vocabulary).old_ids(batch["input_ids"])
    return batch


def test_it_reads_through_the_map_and_says_what_is_left(padded: Path, vocabulary: Path) -> None:
    """Rows that pad the table are no tokens: what they have is lost to nobody."""
    model, whole = both(padded, vocabulary)
    whole = whole[:, :-8] / whole[:, :-8].sum(-1, keepdim=True)
    kept = list(VocabularyMap.read(vocabulary).kept)
    states, logits = said(model, new_batch(vocabulary))
    assert logits.shape == (len(ROWS), len(kept))
    for row in range(len(ROWS)):
        left = [float(whole[row, old]) for old in kept]
        for place, one in enumerate(left):
            own = float(torch.softmax(logits[row], -1)[place])
            assert own == pytest.approx(one / math.fsum(left), rel=1e-12)
        with torch.no_grad():
            lost = float(model.lost_share(states)[row])
        assert lost == pytest.approx(1 - math.fsum(left), rel=1e-11)
        assert lost > 0.1


def test_the_unknown_token_stands_for_what_is_lost(tiny_bert: Path, vocabulary: Path) -> None:
    """In logits and in losses, at any temperature, and among several teachers."""
    model, whole = both(tiny_bert, vocabulary, "unknown")
    kept = list(VocabularyMap.read(vocabulary).kept)
    entry = model.dropped.bucket
    assert entry is not None
    batch = new_batch(vocabulary)
    states, logits = said(model, batch)
    expected = whole[:, kept].clone()
    expected[:, entry] += 1 - expected.sum(-1)
    torch.testing.assert_close(torch.softmax(logits, -1), expected, rtol=0, atol=1e-13)
    with torch.no_grad():
        lost = model.lost_share(states)
    torch.testing.assert_close(lost, 1 - whole[:, kept].sum(-1), rtol=0, atol=1e-13)

    draw = torch.Generator().manual_seed(1)
    rows = torch.randn(len(ROWS), 8, generator=draw, dtype=torch.float64)
    weight = torch.randn(len(kept), 8, generator=draw, dtype=torch.float64)
    targets = torch.tensor([IGNORED, 3, IGNORED, 1, 2, IGNORED])  # by which rows are ordered
    q = torch.log_softmax(rows @ weight.T / 2, -1)
    p = torch.log_softmax(expected.log() / 2, -1)
    wanted = 4 * (p.exp() * (p - q)).sum(-1)

    def losses(signal: TeacherSignal) -> Tensor:
        own = [ForwardKL(2.0), CrossEntropy()]
        return row_losses(own, Head(rows, weight), signal, targets)[0]

    two = Ensemble({"other": TeacherSpec("same")})
    for ensemble, teachers in ((Ensemble(), [model]), (two, [model, model])):
        taught = teach(teachers, ensemble, batch)
        torch.testing.assert_close(taught.with_signal(losses, ROWS), wanted, rtol=0, atol=1e-12)


def test_a_layer_copy_of_it_and_its_own_start_are_one(tiny_bert: Path, vocabulary: Path) -> None:
    spec = TeacherSpec(str(tiny_bert), vocabulary=str(vocabulary))
    copied = LayerCopyStudent(num_layers=2, vocabulary=str(vocabulary)).build(spec.build(), 0)
    assert type(copied) is LanguageModel
    assert copied.outputs == copied.vocab_size == VocabularyMap.read(vocabulary).size
    assert copied.config.vocab_size == copied.vocab_size
    assert all(parameter.requires_grad for parameter in copied.parameters())


def test_what_it_reads_already_stays(tiny_bert: Path, vocabulary: Path, tmp_path: Path) -> None:
    TeacherSpec(str(tiny_bert), vocabulary=str(vocabulary)).build().model.save_pretrained(tmp_path)
    shutil.copytree(vocabulary, tmp_path, dirs_exist_ok=True)
    again = TeacherSpec(str(tmp_path), vocabulary=str(vocabulary)).build()
    assert type(again) is LanguageModel
    assert again.vocab_size == VocabularyMap.read(vocabulary).size


def test_misuse_is_one_clear_line(tiny_bert: Path, vocabulary: Path, tmp_path: Path) -> None:
    writer = str(writers.save("gpt2", tmp_path / "writer"))
    with pytest.raises(UserError, match="was trimmed from another tokenizer than that of"):
        TeacherSpec(writer, vocabulary=str(vocabulary)).build()
    with pytest.raises(UserError, match=r"has no vocabulary_map\.json: give a folder that"):
        TeacherSpec(str(tiny_bert), vocabulary=str(tiny_bert)).build()
    with pytest.raises(UserError, match=r"model\.student\.vocabulary.* has .* tokens, and the "):
        LayerCopyStudent(vocabulary=str(vocabulary)).build(TeacherSpec(str(tiny_bert)).build(), 0)
    trimmed_vocabulary(Path(writer), tmp_path / "bytes")
    with pytest.raises(UserError, match="has no unknown token"):
        TeacherSpec(writer, vocabulary=str(tmp_path / "bytes"), lost="unknown").build()
