"""Texts that are read otherwise than a model knows them: tokens doubled, moved or amiss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from data_modules import Corpus, PromptCorpus
from data_modules.prompting.form import PromptText
from lit_distill.cli.preflight.findings import Finding
from lit_distill.errors import UserError
from lit_distill.models import PretrainedStudent, load_tokenizer, read_otherwise
from lit_distill.training.distillation import Distillation

LOOKED_AT = 20
"""Windows of a language of which the beginning is looked at."""
ANSWER = "42"
"""What no template holds, so that what stands behind it is the template's."""


def misread(module: Distillation) -> Iterator[Finding]:
    """What to say of how texts of a run are read.

    Args:
        module: with its models, and the data module that has been set up.
    """
    yield from _of_another(module)
    if isinstance(module.data, Corpus):
        yield from _begun_twice(module.data)
    if isinstance(module.data, PromptCorpus):
        yield from _unended(module.data)


def _of_another(module: Distillation) -> Iterator[Finding]:
    """Saved students that were trained with another tokenizer than the run's."""
    tokenizer: Any = module.tokenizer
    for name, start in module.cast.student_specs.items():
        if tokenizer is None or not isinstance(start, PretrainedStudent) or start.vocabulary:
            continue
        if start.name == tokenizer.name_or_path:
            continue
        try:
            own = load_tokenizer(start.name, start.revision)
        except UserError:  # it was saved without one
            continue
        if how := read_otherwise(tokenizer, own):
            yield Finding(
                "warning",
                "tokenizer",
                f"The run's tokenizer reads texts otherwise than that of {start.name}, with which "
                f"{name} was trained: {how}.",
                f"--tokenizer {start.name}, with a teacher that reads the same; or, where another "
                "vocabulary is meant, VocabularyTransferStudent, which moves its embeddings.",
            )


def _begun_twice(data: Corpus) -> Iterator[Finding]:
    """Texts whose beginning token is there two times."""
    begin, store = data.tokenizer.bos_token_id, data.train
    doubled = []
    for number, language in enumerate(data.languages):
        windows = np.flatnonzero(store.language == number)[:LOOKED_AT]
        heads = [store.gather(windows[at : at + 1])[:2].tolist() for at in range(len(windows))]
        if begin is not None and heads and all(head == [begin, begin] for head in heads):
            doubled.append(language)
    if doubled:
        token = data.tokenizer.bos_token
        yield Finding(
            "warning",
            "tokens",
            f"Texts begin with {token!r} twice ({', '.join(doubled[:6])}): once from the "
            "tokenizer, and once from the text or its `prompt`, as no model has seen it.",
            f"Leave {token!r} out of `prompt` and of the files, or render with ChatTemplate, which "
            "puts it once.",
        )


def _unended(data: PromptCorpus) -> Iterator[Finding]:
    """Chat templates that end an answer with a token at which nothing stops."""
    tokenizer: Any = data.tokenizer
    if not data.rendering.chat:
        return
    _, response = data.rendering.texts(tokenizer, PromptText("?", ANSWER))
    if response is None or ANSWER not in response:
        return
    behind = response[response.rfind(ANSWER) + len(ANSWER) :]
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"]
    known = [number for number in ids if number in tokenizer.added_tokens_decoder]
    if known and not {*ids} & {*data.eos_ids}:
        token = tokenizer.convert_ids_to_tokens(known[-1])
        yield Finding(
            "warning",
            "tokens",
            f"The chat template ends an answer with {token!r}, and texts end at "
            f"{tokenizer.eos_token!r}, which was put behind it: models that were tuned on the "
            "template say nothing sensible there, and do not stop where they should.",
            f"--data.stop_tokens \"['{token}']\".",
        )
