"""Whether students, teachers, tokenizers and data fit each other, before the first step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerFast

from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.fitting.data_fit import (
    check_length,
    check_objective,
    check_start,
    compare_templates,
)
from lit_distill.models.fitting.labels import check_classifier, check_same_labels
from lit_distill.models.loading.tokenizers import load_tokenizer
from lit_distill.models.teachers.teacher import TeacherSpec


def check_agreement(
    student: PreTrainedTokenizerFast, teacher: PreTrainedTokenizerFast, names: str = ""
) -> None:
    """Checks that both turn every text into the same ids.

    Args:
        student: the tokenizer that the data is made with.
        teacher: the one that the teacher was trained with.
        names: who they are, for the message.

    Raises:
        UserError: they differ; the message shows where and what to do.
    """
    remedy = (
        "Logits and positions would not mean the same. Use the teacher's tokenizer (--tokenizer), "
        "or a teacher with the student's vocabulary (VocabularyTransferStudent and some MaskedLM "
        "or CausalLM make one); where the student's was trimmed from it, name the folder in "
        "model.student.vocabulary."
    )
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        shown = "; ".join(
            f"{token!r} is {ours.get(token, 'absent')} / {theirs.get(token, 'absent')}"
            for token in _differing(ours, theirs)[:3]
        )
        raise UserError(
            f"The tokenizers of student and teacher{names} differ: {len(ours)} and {len(theirs)} "
            f"tokens; {shown} (student / teacher). {remedy}"
        )
    roles = student.special_tokens_map
    other = teacher.special_tokens_map
    for role in sorted(roles.keys() | other.keys()):
        if roles.get(role) != other.get(role):
            raise UserError(
                f"The tokenizers of student and teacher{names} differ in {role}: "
                f"{roles.get(role)!r} and {other.get(role)!r}. {remedy}"
            )
    mine, yours = _pipeline(student), _pipeline(teacher)
    for step in sorted(mine):
        if mine[step] != yours[step]:
            raise UserError(
                f"The tokenizers of student and teacher{names} have the same vocabulary and "
                f"another {step}: {_short(mine[step])} and {_short(yours[step])}. {remedy}"
            )


def read_otherwise(tokenizer: PreTrainedTokenizerFast, own: PreTrainedTokenizerFast) -> str:
    """How a tokenizer reads texts otherwise than a model's own one, in words; "" if it does not.

    Roles of special tokens do not count, nor tokens that the model does not know, nor added ones
    that the tokenizer lacks.

    Args:
        tokenizer: the run's.
        own: of the model.
    """
    ours, theirs = tokenizer.get_vocab(), own.get_vocab()
    added = {str(token) for token in own.added_tokens_decoder.values()}
    moved = [
        token
        for token in _differing(ours, theirs)
        if token in theirs and (token in ours or token not in added)
    ]
    if moved:
        shown = ", ".join(
            f"{token!r} is {ours.get(token, 'absent')} and was {theirs[token]}"
            for token in moved[:3]
        )
        return f"{len(moved):,} of {len(theirs):,} tokens have other ids ({shown})"
    mine, yours = _pipeline(tokenizer), _pipeline(own)
    for step in ("normaliser", "pre-tokeniser", "splitting model"):
        if mine[step] != yours[step]:
            return f"its {step} is {_short(mine[step])} and was {_short(yours[step])}"
    return ""


def _differing(ours: dict[str, int], theirs: dict[str, int]) -> list[str]:
    """Tokens with different ids, lowest id first."""
    tokens = {
        token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)
    }
    return sorted(tokens, key=lambda t: (min(ours.get(t, 1 << 40), theirs.get(t, 1 << 40)), t))


def _pipeline(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The steps that decide how text is cut, as plain values."""
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    model = parts["model"]
    if model["type"] != "Unigram":  # there the vocabulary also holds scores, which cut the text
        del model["vocab"]
    return {
        "normaliser": parts["normalizer"],
        "pre-tokeniser": parts["pre_tokenizer"],
        "template of special tokens": parts["post_processor"],
        "way of matching special tokens": parts["added_tokens"],
        "splitting model": model,
    }


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."


def check_model_vocabulary(
    model: LanguageModel, tokenizer: PreTrainedTokenizerFast, name: str
) -> None:
    """Checks that every id that text can have has a row; more rows (padding) are allowed.

    So are special tokens beyond the last row: those of other media (Gemma 3's tokenizer has one for
    images, and the models that read text alone have no row for it). No text becomes them.

    Args:
        model: student or teacher.
        tokenizer: the run's tokenizer.
        name: "student" or "teacher", for the message.

    Raises:
        UserError: the model has too few rows, or pads with another id.
    """
    largest = max(tokenizer.get_vocab().values())
    if largest >= model.vocab_size and not _only_media_beyond(tokenizer, model.vocab_size):
        raise UserError(
            f"The {name} has {model.vocab_size} vocabulary rows and the tokenizer's largest id is "
            f"{largest}: use the tokenizer that the {name} was trained with (--tokenizer)."
        )
    if model.anatomy.causal:
        return  # padding is on the right, where no real position looks: any id will do
    pads = model.config.pad_token_id
    if tokenizer.pad_token_id is None or pads != tokenizer.pad_token_id:
        raise UserError(
            f"The {name} pads with id {pads} and the tokenizer with {tokenizer.pad_token_id}: use "
            f"the tokenizer that the {name} was trained with, or set pad_token_id in its config."
        )


def _only_media_beyond(tokenizer: PreTrainedTokenizerFast, rows: int) -> bool:
    """Whether all tokens without a row are special ones to which no part of a text is assigned."""
    used = set(tokenizer.special_tokens_map.values())
    beyond = [token for token, number in tokenizer.get_vocab().items() if number >= rows]
    added = tokenizer.added_tokens_decoder
    numbers = tokenizer.get_vocab()
    special = {str(token) for token in added.values() if token.special}
    ends = tokenizer("", add_special_tokens=True)["input_ids"]
    return all(
        token in special and token not in used and numbers[token] not in ends for token in beyond
    )


def check_models(
    student: LanguageModel,
    teacher: LanguageModel | None,
    teacher_spec: TeacherSpec | None,
    tokenizer: PreTrainedTokenizerFast | None,
    data: Any = None,
    same_vocabulary: bool = True,
    teacher_tokenizer: PreTrainedTokenizerFast | None = None,
) -> None:
    """All checks of a run, before any step.

    Args:
        student: the built student.
        teacher: the built teacher, if any.
        teacher_spec: where the teacher came from.
        tokenizer: the run's tokenizer, if known.
        data: the data module; its `max_length`, if it declares one, is checked.
        same_vocabulary: whether the teacher reads what the student reads; False: it has ids and a
            view of the batch of its own, about which nothing is known here.
        teacher_tokenizer: what cuts the teacher's view of the batch; None: the run's tokenizer.

    Raises:
        UserError: something does not fit.
    """
    teacher, facts = teacher if same_vocabulary else None, DataFacts(data)
    models = {"student": student, "teacher": teacher}
    read = {"student": tokenizer, "teacher": teacher_tokenizer or tokenizer}
    for name, model in models.items():
        if model is None:
            continue
        if (own := read[name]) is not None:
            check_model_vocabulary(model, own, name)
        if facts.max_length is not None:
            check_length(facts.max_length, model, name)
        check_classifier(model, name)
        check_objective(facts, model, name)
        check_start(facts.decoder_start_id, model, name)
    if teacher is None:
        return
    check_same_labels({"student": student, "teacher": teacher})
    if student.outputs != teacher.outputs and tokenizer is None:
        raise UserError(
            f"The student has {student.outputs} vocabulary rows and the teacher "
            f"{teacher.outputs}, and no tokenizer says how many of them are tokens: give one "
            "(--tokenizer), or carve the student from the teacher."
        )
    if tokenizer is not None and teacher_spec is not None:
        theirs = _teacher_tokenizer(teacher_spec)
        check_agreement(teacher_tokenizer or tokenizer, theirs)
        compare_templates(facts, tokenizer, theirs)


def share_vocabulary(
    models: Sequence[LanguageModel], tokenizer: PreTrainedTokenizerFast | None
) -> None:
    """Where tables were padded to different sizes, makes all models end at the last token.

    Equal tables keep their padding in all losses, as they were trained; no model writes it.

    Args:
        models: that passed `check_models`.
        tokenizer: the run's.
    """
    if tokenizer is None or any(model.anatomy.has_task for model in models):
        return
    rows = {model.outputs for model in models}
    tokens = min(max(tokenizer.get_vocab().values()) + 1, *rows)
    for model in models:
        model.tokens = tokens
        if len(rows) > 1:
            model.size = tokens


def settle_padding(
    models: Sequence[LanguageModel], tokenizer: PreTrainedTokenizerFast | None
) -> None:
    """Tells decoders with the head of a task what padding is: they read the last other token.

    Plain Transformers finds that token by `config.pad_token_id`, so an export needs one. Where the
    tokenizer names none, it is the token that ends texts, as people use GPT-2.

    Args:
        models: students and teachers; others are left as they are.
        tokenizer: the run's.

    Raises:
        UserError: there is neither a padding token nor one that ends texts.
    """
    for model in models:
        if tokenizer is None or not (model.anatomy.causal and model.anatomy.has_task):
            continue
        own, end = tokenizer.pad_token_id, tokenizer.eos_token_id
        if own is None and end is None:
            raise UserError(
                f"A {type(model.model).__name__} reads a text's last token that is no padding, and "
                "the tokenizer has neither a padding token nor one that ends texts: set pad_token "
                "in its tokenizer_config.json."
            )
        model.config.pad_token_id = end if own is None else own
        if own is None:
            model.notes.append(
                f"texts are padded with {tokenizer.eos_token!r}, which the tokenizer does not call "
                "a padding token: `tokenizer.pad_token = tokenizer.eos_token`"
            )


def _teacher_tokenizer(spec: TeacherSpec) -> PreTrainedTokenizerFast:
    try:
        return load_tokenizer(spec.reads)
    except UserError as error:
        raise UserError(
            f"The teacher's tokenizer cannot be compared with the run's: {error} If it lies "
            "elsewhere, set model.init_args.teacher.tokenizer."
        ) from error
