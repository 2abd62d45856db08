"""Has a teacher answer prompts once, and writes what is fit to be learnt from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

import data_modules as data_modules  # makes bare class names of data modules resolve
from callbacks.written_text.text_scores import Scored, of_one
from data_modules import Corpus, PromptCorpus
from data_modules.prompting.form import PromptText
from data_modules.prompting.sources import ANSWERS_MARK
from data_modules.storing.splitting import split_rows
from data_modules.storing.tokenising import Split
from lit_distill.batch import Batch, PromptBatch, read_ids
from lit_distill.errors import UserError
from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.files.output_folders import check_output_file
from lit_distill.knobs import Seed, check_knobs
from lit_distill.losses import CrossEntropy
from lit_distill.models import (
    LanguageModel,
    Sampling,
    TeacherSpec,
    TextFilter,
    check_models,
    check_room,
    ending_ids,
    share_vocabulary,
    with_written_responses,
    write,
)
from lit_distill.tools.labelling.label_selection import Label, Selection, choose, word_error_rate

HELD_OUT = "validation"  # in the name of the file of held-out prompts
ROWS = 256  # prompts that are rendered and written together; rows that are projected together


def pseudo_label(
    output: str,
    data: Corpus,
    teacher: TeacherSpec,
    sampling: Sampling = Sampling(temperature=0.0),  # noqa: B008 (frozen)
    keep: TextFilter = TextFilter(),  # noqa: B008 (frozen)
    select: Selection = Selection(),  # noqa: B008 (frozen)
    seed: Seed = 0,
    device: str = "cpu",
) -> dict[str, int]:
    """Writes the teacher's answers to the training prompts of a corpus, as .jsonl.

    A line has `language`, `prompt`, `response` (the answer), `teacher` (the same), `reference` (the
    corpus's own response), scores, and `answered_by`: a `PromptSource` with language_column reads
    it with its default templates. What the corpus holds out is written apart, beside it, as
    .validation.jsonl: there `response` is the reference, and the answer is `teacher` alone.

    Args:
        output: the file; earlier labels are replaced when all is written, and nothing else is.
        data: the corpus; take it from a file with `--config configs/data/....yaml`, and give it
            `--data.tokenizer`.
        teacher: who answers.
        sampling: how: at temperature 0 his likeliest tokens.
        keep: which texts are kept by their tokens alone; held-out prompts are all kept.
        select: which of these by references and by how sure the teacher was.
        seed: of the draws.
        device: where the teacher runs.

    Returns:
        How many training texts were kept, and dropped for each reason.

    Raises:
        UserError: there are no prompts, the teacher does not fit, or the output is something else.
    """
    check_knobs(pseudo_label, locals())
    data, path = _checked(data), _path(output, data)
    model = teacher.build().to(device)
    check_models(model, None, None, data.tokenizer, data)
    share_vocabulary([model], data.tokenizer)
    check_room(model, data.limits.prompt, sampling, "teacher")
    labels: list[Label] = []
    for split, language, rows in _chunks(data):
        blank = [Label(split, language, row.prompt, row.response) for row in rows]
        _answer(model, data, rows, blank, (sampling, keep, seed), len(labels))
        labels += blank
    train = [label for label in labels if label.split == "train"]
    choose(train, select)
    _write(path, train, [label for label in labels if label.split != "train"], teacher.name)
    _report(labels, data)
    return dict(Counter(label.dropped or "kept" for label in train))


def _checked(data: Corpus) -> PromptCorpus:
    if not isinstance(data, PromptCorpus):
        raise UserError(f"{type(data).__name__} has no prompts: label a PromptCorpus.")
    return data


def _path(output: str, data: Corpus) -> Path:
    """The place of the file of training prompts.

    Raises:
        UserError: it, or that of held-out prompts, would replace what is not ours, or is read.
    """
    path = Path(output).expanduser()
    if path.suffix != ".jsonl":
        raise UserError(f"The output {output} is written as .jsonl: give it a name that says so.")
    readers = [one for own in data.texts() for one in (*own.train, *own.validation, *own.test)]
    for place in (path, _beside(path)):
        check_output_file(place, _is_ours, [Path(reader.name) for reader in readers])
    return path


def _beside(path: Path) -> Path:
    """Where held-out prompts are written."""
    return path.with_suffix(f".{HELD_OUT}.jsonl")


def _is_ours(path: Path) -> bool:
    """Whether every line of a file was written here."""
    try:
        with path.open(encoding="utf-8") as lines:
            rows = (json.loads(line) for line in lines if line.strip())
            return all(isinstance(row, dict) and ANSWERS_MARK in row for row in rows)
    except (OSError, ValueError, RecursionError):
        return False


def _write(
    path: Path, train: Sequence[Label], held_out: Sequence[Label], teacher: str | None
) -> None:
    """Both files, one line of JSON each."""
    kept = [label for label in train if not label.dropped]
    if not train:
        raise UserError(
            "The corpus has no training prompt to label: all of its rows are broken, repeats, or "
            "held out (data.init_args.holdout)."
        )
    if not kept:
        reasons = dict(Counter(label.dropped for label in train))
        raise UserError(f"No text is left of {len(train)}: {reasons}. Loosen keep or select.")
    for name, labels in ((path, kept), (_beside(path), held_out)):
        with replacing(name) as beside, beside.open("w", encoding="utf-8") as file:
            for label in labels:
                line = {
                    "language": label.language,
                    "prompt": label.prompt,
                    "response": label.answer if label.split == "train" else label.reference,
                    "teacher": label.answer,
                    "reference": label.reference,
                    **label.scores,
                    "sureness": round(label.sureness, 5),
                    ANSWERS_MARK: teacher or "",
                }
                file.write(strict_json.dumps(line) + "\n")


def _report(labels: Sequence[Label], data: PromptCorpus) -> None:
    """Prints what became of every language, and what its reader has to know."""
    for language in dict.fromkeys(label.language for label in labels):
        own = [label for label in labels if label.language == language]
        found = Counter(label.dropped or "kept" for label in own if label.split == "train")
        print(f"{language}: " + ", ".join(f"{name} {count}" for name, count in found.items()))
        held_out = [label for label in own if label.split != "train"]
        known = sum(label.reference is not None for label in held_out)
        unlike = "" if known in (0, len(held_out)) else " (read them with `partly_labelled: true`)"
        print(f"{language}: {len(held_out)} held out, {known} of them with a reference{unlike}")
        reread = sum(label.reread for label in own if not label.dropped)
        if reread:
            print(
                f"{language}: {reread} answers will be read in other tokens than the teacher wrote "
                "(training on them by the method SequenceKD keeps his)"
            )
    if any(data.renderer.markers.any_in(label.prompt) for label in labels):
        print(
            "The prompts have control tokens by the corpus's template: read the file with "
            "`rendered: true`, or they will be text."
        )


def _chunks(data: PromptCorpus) -> Iterator[tuple[Split, str, list[PromptText]]]:
    """Rows that are trained on or held out, so many at a time; broken ones are reported.

    Raises:
        UserError: a file has too many broken rows.
    """
    for file in split_rows(data.texts(), PromptText, data.settings, data.max_broken):
        for part in file.parts:
            for split, numbered in part.items():
                rows = [row for _, row in numbered] if split != "test" else []
                for first in range(0, len(rows), ROWS):
                    yield split, file.report.language, rows[first : first + ROWS]
        if file.report.broken:
            print(f"Broken rows left out. {file.report}")


def _answer(
    model: LanguageModel,
    data: PromptCorpus,
    rows: Sequence[PromptText],
    labels: Sequence[Label],
    how: tuple[Sampling, TextFilter, int],
    first: int,
) -> None:
    """Fills the labels of rows in; those with too long prompts are dropped."""
    sampling, keep, seed = how
    fitting: list[tuple[PromptText, Label, list[int], int]] = []
    language = labels[0].language  # one for all of a chunk
    rendered = data.renderer([PromptText(row.prompt, None) for row in rows], language)
    for number, (row, label, ids) in enumerate(zip(rows, labels, rendered, strict=True), first):
        if 0 < len(ids.prompt) <= data.limits.prompt:
            fitting.append((row, label, ids.prompt, number))
        else:
            label.dropped = "prompt empty or too long"
    if not fitting:
        return
    batch = _batch(model, [ids for *_, ids, _ in fitting], [number for *_, number in fitting])
    starts = data.starts.by_language([language]) if model.reads_pairs else None
    if starts is not None:
        batch["target_starts"] = batch["language"].new_tensor(starts.repeat(len(fitting), 0))
    endings = (*data.eos_ids, *ending_ids(model, data.tokenizer))
    (written,) = write(model, [batch], sampling, seed, endings)
    kept = keep(batch["prompt_mask"].sum(1), written)
    sureness = _sureness(model, with_written_responses(batch, written, model)).tolist()
    for place, (row, label, read, _) in enumerate(fitting):
        length, ended = int(written.lengths[place]), bool(written.ended[place])
        tokens = written.tokens[place, : length - ended].tolist()
        label.answer = _text(data, read, tokens)
        label.sureness = sureness[place]
        if row.response is not None:
            scored = Scored(label.answer.strip(), row.response.strip(), tokens, ended)
            label.scores = {
                "chrf": of_one(scored)["chrf"],
                "wer": word_error_rate(label.answer.split(), row.response.split()),
            }
        (again,) = data.renderer([PromptText(row.prompt, label.answer)], language)
        label.reread = (again.prompt, (again.response or [])[:-1]) != (read, tokens)
        if not label.answer.strip():
            label.dropped = "empty"
        elif not kept[place]:
            label.dropped = "not ended" if keep.ended and not ended else "keep"


def _text(data: PromptCorpus, prompt: list[int], tokens: list[int]) -> str:
    """What stands behind the prompt once the tokens do, with the space they may begin with."""

    def decoded(ids: list[int]) -> str:
        text = data.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)

    if data.responses.pairs:
        return decoded(tokens)
    before, whole = decoded(prompt), decoded([*prompt, *tokens])
    return whole[len(before) :] if whole.startswith(before) else decoded(tokens)


def _batch(model: LanguageModel, prompts: list[list[int]], numbers: list[int]) -> PromptBatch:
    """Prompts as `write` takes them."""
    width = max(map(len, prompts))
    device = next(model.parameters()).device
    ids = torch.zeros(len(prompts), width, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        first = 0 if model.reads_pairs else width - len(prompt)
        ids[row, first : first + len(prompt)] = torch.tensor(prompt)
        mask[row, first : first + len(prompt)] = 1
    return PromptBatch(
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
        CrossEntropy()(model.logits(states.rows(rows)), None, targets)
        for rows, targets in zip(
            torch.split(batch["rows"], ROWS), torch.split(batch["targets"], ROWS), strict=True
        )
    ]
    texts = batch["rows"] // read_ids(batch).shape[1]
    sums = torch.zeros(len(batch["sample_id"]), device=texts.device)
    return -sums.index_add(0, texts, torch.cat(values).float()) / torch.bincount(texts)
