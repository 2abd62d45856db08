"""Has a teacher answer prompts once, and writes what is fit to be learnt from."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

import data_modules as data_modules  # makes bare class names of data modules resolve
from callbacks.atomic_files import replacing
from callbacks.text_scores import Scored, of_one
from data_modules import Corpus, PromptCorpus
from data_modules.prompt_sources import PromptText
from lit_distill.batch import Batch, read_ids
from lit_distill.errors import UserError
from lit_distill.losses import CrossEntropy
from lit_distill.models import (
    LanguageModel,
    Sampling,
    Teacher,
    TextFilter,
    check_models,
    check_room,
    continued,
    ending_ids,
    share_vocabulary,
    write,
)

ROWS = 256  # prompts that are rendered and written together; rows that are projected together


@dataclass(frozen=True)
class Selection:
    """What is kept of all that the teacher wrote, beyond what its tokens show.

    Attributes:
        min_chrf: lowest chrF (0 to 100) against the response, of prompts that have one.
        max_wer: highest word error rate against it (0: the same words; may exceed 1).
        best_share: share of every language's texts that is kept, those of which the teacher was
            surest (mean log-probability of their tokens): 0.9 drops the worst tenth.

    Raises:
        UserError: the share is none.
    """

    min_chrf: float = 0.0
    max_wer: float = math.inf
    best_share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.best_share <= 1:
            raise UserError(f"select.best_share is {self.best_share}: a share is in (0, 1].")


@dataclass
class Label:
    """One prompt with the teacher's answer; `dropped` says why it is not kept."""

    language: str
    prompt: str
    response: str
    sureness: float
    scores: dict[str, float] = field(default_factory=dict)
    dropped: str = ""


def pseudo_label(
    output: str,
    data: Corpus,
    teacher: Teacher,
    sampling: Sampling = Sampling(temperature=0.0),  # noqa: B008 (frozen)
    keep: TextFilter = TextFilter(),  # noqa: B008 (frozen)
    select: Selection = Selection(),
    seed: int = 0,
    device: str = "cpu",
) -> dict[str, int]:
    """Writes the teacher's answers to the training prompts of a corpus, as .jsonl.

    A line has `language`, `prompt`, `response`, and scores: a `PromptSource` with language_column
    reads it with its default templates. Training then tokenises the text again.

    Args:
        output: the file; replaced when all is written.
        data: the corpus; take it from a file with `--config configs/data/....yaml`, and give it
            `--data.tokenizer`.
        teacher: who answers.
        sampling: how: at temperature 0 his likeliest tokens.
        keep: which texts are kept by their tokens alone.
        select: which of these by references and by how sure the teacher was.
        seed: of the draws.
        device: where the teacher runs.

    Returns:
        How many texts were kept, and dropped for each reason.

    Raises:
        UserError: there are no prompts, or the teacher does not fit them.
    """
    if not isinstance(data, PromptCorpus):
        raise UserError(f"{type(data).__name__} has no prompts: label a PromptCorpus.")
    model = teacher.build().to(device)
    check_models(model, None, None, data.tokenizer, data)
    share_vocabulary([model], data.tokenizer)
    check_room(model, data.limits.prompt, sampling, "teacher")
    labels: list[Label] = []
    for language, rows in _chunks(data):
        labels += _answers(model, data, language, rows, (sampling, keep, seed), len(labels))
    _select(labels, select)
    _write([label for label in labels if not label.dropped], Path(output).expanduser(), labels)
    for language in dict.fromkeys(label.language for label in labels):
        found = Counter(label.dropped or "kept" for label in labels if label.language == language)
        print(f"{language}: " + ", ".join(f"{name} {count}" for name, count in found.items()))
    return dict(Counter(label.dropped or "kept" for label in labels))


def _write(kept: Sequence[Label], path: Path, labels: Sequence[Label]) -> None:
    """One line of JSON each."""
    if not kept:
        reasons = dict(Counter(label.dropped for label in labels))
        raise UserError(f"No text is left of {len(labels)}: {reasons}. Loosen keep or select.")
    with replacing(path) as beside, beside.open("w", encoding="utf-8") as file:
        for label in kept:
            line = {"language": label.language, "prompt": label.prompt, "response": label.response}
            scores = {**label.scores, "sureness": round(label.sureness, 5)}
            file.write(json.dumps({**line, **scores}, ensure_ascii=False) + "\n")


def _chunks(data: PromptCorpus) -> Iterator[tuple[str, list[PromptText]]]:
    """Training rows that can be read, so many at a time."""
    for texts in data.texts():
        rows = (row for reader in texts.train for row in reader.rows())
        good = (row for row in rows if isinstance(row, PromptText))
        while chunk := list(islice(good, ROWS)):
            yield texts.language, chunk


def _answers(
    model: LanguageModel,
    data: PromptCorpus,
    language: str,
    rows: Sequence[PromptText],
    how: tuple[Sampling, TextFilter, int],
    first: int,
) -> Iterator[Label]:
    """Labels of rows that can be read; those with too long prompts are dropped."""
    sampling, keep, seed = how
    fitting: list[tuple[PromptText, list[int], int]] = []
    for number, (row, ids) in enumerate(zip(rows, data.renderer(rows), strict=True), first):
        if 0 < len(ids.prompt) <= data.limits.prompt:
            fitting.append((row, ids.prompt, number))
        else:
            yield Label(language, row.prompt, "", 0.0, dropped="prompt empty or too long")
    if not fitting:
        return
    batch = _batch(model, [prompt for _, prompt, _ in fitting], [n for _, _, n in fitting])
    endings = (*data.eos_ids, *ending_ids(model, data.tokenizer))
    (written,) = write(model, [batch], sampling, seed, endings)
    kept = keep(batch["prompt_mask"].sum(1), written)
    sureness = _sureness(model, continued(batch, written, model)).tolist()
    for place, (row, _, _) in enumerate(fitting):
        length, ended = int(written.lengths[place]), bool(written.ended[place])
        tokens = written.tokens[place, : length - ended].tolist()
        text = data.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        label = Label(language, row.prompt, text, sureness[place])
        if row.response is not None:
            scored = Scored(text, row.response.strip(), tokens, ended)
            label.scores = {
                "chrf": of_one(scored)["chrf"],
                "wer": word_error_rate(text.split(), row.response.split()),
            }
        if not text:
            label.dropped = "empty"
        elif not kept[place]:
            label.dropped = "keep" if ended else "not ended"
        yield label


def _batch(model: LanguageModel, prompts: list[list[int]], numbers: list[int]) -> Batch:
    """Prompts as `write` takes them."""
    width = max(map(len, prompts))
    device = next(model.parameters()).device
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        first = 0 if model.reads_pairs else width - len(prompt)
        ids[row, first : first + len(prompt)] = torch.tensor(prompt)
        mask[row, first : first + len(prompt)] = 1
    return Batch(
        prompt_ids=ids.to(device),
        prompt_mask=mask.to(device),
        sample_id=torch.tensor(numbers, device=device),
        language=torch.zeros(len(prompts), dtype=torch.int64, device=device),
        counts={},
    )


@torch.no_grad()
def _sureness(model: LanguageModel, batch: Batch) -> Tensor:
    """Mean log-probability (B,) that the teacher gives the tokens it wrote."""
    states = model.encode(batch)
    values = [
        CrossEntropy()(model.project(states.rows(rows)), None, targets)
        for rows, targets in zip(
            torch.split(batch["rows"], ROWS), torch.split(batch["targets"], ROWS), strict=True
        )
    ]
    texts = batch["rows"] // read_ids(batch).shape[1]
    sums = torch.zeros(len(batch["sample_id"]), device=texts.device)
    return -sums.index_add(0, texts, torch.cat(values).float()) / torch.bincount(texts)


def _select(labels: list[Label], select: Selection) -> None:
    """Marks what is dropped by reference, then by rank within its language."""
    for label in labels:
        scores = {"chrf": math.inf, "wer": 0.0, **label.scores}
        if not label.dropped and scores["chrf"] < select.min_chrf:
            label.dropped = "chrF"
        elif not label.dropped and scores["wer"] > select.max_wer:
            label.dropped = "WER"
    for language in {label.language for label in labels}:
        own = [one for one in labels if one.language == language and not one.dropped]
        own.sort(key=lambda label: -label.sureness)
        for label in own[math.ceil(len(own) * select.best_share) :]:
            label.dropped = "not sure"


def word_error_rate(words: Sequence[str], wanted: Sequence[str]) -> float:
    """Fewest words to replace, insert and delete, per word that was wanted."""
    row = list(range(len(wanted) + 1))
    for number, word in enumerate(words, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(wanted, 1):
            best = min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
            diagonal, row[place] = row[place], best
    return row[-1] / max(len(wanted), 1)
