"""Masked texts and what the models put into their gaps, to read beside the curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from callbacks.reports.boards import boards
from callbacks.reports.markdown import escaped
from lit_distill.batch import Batch
from lit_distill.knobs import Count, check_knobs
from lit_distill.models import LanguageModel
from lit_distill.training.distillation import Distillation


@dataclass(frozen=True)
class Sample:
    """One validation text of T tokens.

    Attributes:
        language: its name.
        read: (T,) token ids as the model reads them.
        targets: the hidden token at each selected place, by place.
    """

    language: str
    read: Tensor
    targets: dict[int, int] = field(default_factory=dict)


class MaskedSamples(Callback):
    """Writes one masked text per language to every logger that shows tables, with models' guesses.

    The table `val/samples` has a row per text: its beginning with the hidden tokens in bold,
    then each model's most probable token for every gap in order, in bold where it is the hidden
    one. Validation masks never change, so rows can be compared over training. Corpora that mask
    nothing write nothing.

    Args:
        texts: per language.
        tokens: how much of each text is shown; models always read all of it.
        languages: at most so many, the first ones of the data module.
    """

    def __init__(self, texts: Count = 1, tokens: Count = 40, languages: Count = 40) -> None:
        check_knobs(MaskedSamples, locals())
        self.texts, self.tokens, self.languages = texts, tokens, languages
        self._samples: list[Sample] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets the texts of the time before."""
        self._samples = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keeps the first texts of every language."""
        if trainer.sanity_checking or not boards(trainer) or not batch["counts"]["masked"]:
            return
        names = Distillation.of(pl_module).data_facts.languages[: self.languages]
        missing = len(names) * self.texts - len(self._samples)
        if missing and "segments" not in batch and "position_ids" not in batch:
            self._keep(batch, names)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lets the models fill the gaps and writes the table."""
        module = Distillation.of(pl_module)
        if trainer.world_size > 1:  # sharded models run on all ranks or on none
            self._samples = trainer.strategy.broadcast(self._samples)
        if not self._samples or module.tokenizer is None or not module.measure.predicts_tokens:
            return
        models = {**module.cast.student_models, **module.cast.answering_teachers}
        batch = _batch(self._samples, module.device)
        guesses = {}
        with trainer.precision_plugin.forward_context():
            for name, model in models.items():
                guesses[name] = _guesses(model, batch, self._samples)
        if trainer.is_global_zero:
            heading = ["language", "text", *guesses]
            rows = _rows(module.tokenizer, self._samples, guesses, self.tokens)
            stage = "test" if trainer.testing else "val"
            for board in boards(trainer):
                board.table(f"{stage}/samples", heading, rows, trainer.global_step)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def _keep(self, batch: Batch, names: Sequence[str]) -> None:
        kept = [sample.language for sample in self._samples]
        width = batch["input_ids"].shape[1]
        lengths = batch["attention_mask"].sum(1).tolist()
        places = list(zip(batch["rows"].tolist(), batch["targets"].tolist(), strict=True))
        for text, number in enumerate(batch["language"].tolist()):
            if number >= len(names) or kept.count(names[number]) >= self.texts:
                continue
            targets = {row % width: target for row, target in places if row // width == text}
            if targets:
                read = batch["input_ids"][text, : lengths[text]].cpu()
                self._samples.append(Sample(names[number], read, targets))
                kept.append(names[number])


def _batch(samples: Sequence[Sample], device: torch.device) -> Batch:
    masks = [torch.ones_like(sample.read) for sample in samples]
    ids = pad_sequence([sample.read for sample in samples], batch_first=True).to(device)
    return Batch(input_ids=ids, attention_mask=pad_sequence(masks, batch_first=True).to(device))


def _guesses(model: LanguageModel, batch: Batch, samples: Sequence[Sample]) -> list[dict[int, int]]:
    """The most probable token at each selected place, by sample and place."""
    width = batch["input_ids"].shape[1]
    flat = [text * width + place for text, sample in enumerate(samples) for place in sample.targets]
    rows = torch.tensor(flat, device=batch["input_ids"].device)
    logits = model.logits(model.encode(batch).rows(rows))[:, : model.tokens]
    best = iter(logits.argmax(-1).tolist())
    return [{place: next(best) for place in sample.targets} for sample in samples]


def _rows(
    tokenizer: Any,
    samples: Sequence[Sample],
    guesses: dict[str, list[dict[int, int]]],
    tokens: int,
) -> list[list[str]]:
    """Cells in Markdown, a row per sample."""
    rows = []
    for number, sample in enumerate(samples):
        shown = [place for place in sorted(sample.targets) if place < tokens]
        cells = [escaped(sample.language), _text(tokenizer, sample, tokens)]
        for guess in guesses.values():
            words = [_word(tokenizer, guess[number][place]) for place in shown]
            right = [guess[number][place] == sample.targets[place] for place in shown]
            marked = [f"**{w}**" if r else w for w, r in zip(words, right, strict=True)]
            cells.append(" · ".join(marked))
        rows.append(cells)
    return rows


def _text(tokenizer: Any, sample: Sample, tokens: int) -> str:
    """The original text's beginning; neighbouring hidden tokens share one stretch of bold."""
    ids = sample.read.tolist()
    for place, target in sample.targets.items():
        ids[place] = target
    parts, before = [], ""
    special = set(tokenizer.all_special_ids)
    for place in range(min(len(ids), tokens)):
        kept = [token for token in ids[: place + 1] if token not in special]
        # Only the whole decodes rightly: pieces of one letter or word join.
        now = tokenizer.decode(kept, clean_up_tokenization_spaces=False)
        parts.append((place in sample.targets, now[len(before) :]))
        before = now
    text = ""
    for hidden, pieces in groupby(parts, key=lambda part: part[0]):
        joined = "".join(piece for _, piece in pieces)
        words = escaped(joined)
        text += " " if joined.startswith(" ") else ""
        text += f"**{words}**" if hidden and words else words
    return text.strip() + ("" if len(ids) <= tokens else " …")


def _word(tokenizer: Any, token: int) -> str:
    return escaped(tokenizer.decode([token])) or "(empty)"
