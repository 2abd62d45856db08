"""Bugs in translators: their language codes, where their texts begin, and their positions."""

from __future__ import annotations

from planted.mutant import Mutant

CODES = "data_modules/text/language_codes.py"
COLLATION = "data_modules/prompting/collation.py"
GENERATION = "lit_distill/models/generation/generation.py"
CONTINUATION = "lit_distill/models/generation/continuation.py"
OF_CODES = "tests/data_modules/text/test_language_codes.py"
OF_STARTS = "tests/lit_distill/models/generation/test_target_starts.py"

TRANSLATORS = (
    Mutant(
        "the source keeps the code that the tokenizer was set to",
        "data_modules/prompting/rendering.py",
        "            frame = self._codes.framed(frame, self._codes.of_pair(language)[0])\n",
        "            pass\n",
        f"{OF_CODES} -k is_what_transformers",
    ),
    Mutant(
        "the source has the code of the target",
        "data_modules/prompting/rendering.py",
        "self._codes.of_pair(language)[0]",
        "self._codes.of_pair(language)[1]",
        f"{OF_CODES} -k is_what_transformers",
    ),
    Mutant(
        "the target begins with the code of the source",
        "data_modules/prompting/starts.py",
        "self.codes.of_pair(name)[1]",
        "self.codes.of_pair(name)[0]",
        f"{OF_CODES} -k is_what_transformers",
    ),
    Mutant(
        "the code of the target is left out",
        "data_modules/prompting/starts.py",
        "[[*first, self.codes.of_pair(name)[1]] for",
        "[first or [self.codes.of_pair(name)[1]] for",
        f"{OF_CODES} -k is_what_transformers",
    ),
    Mutant(
        "a code always stands before the text",
        CODES,
        "        if self._own is None:\n",
        "        if self._own is not None:\n",
        f"{OF_CODES} -k is_what_transformers",
    ),
    Mutant(
        "the code is to be predicted",
        COLLATION,
        "rows=torch.from_numpy(own[answered]),",
        "rows=torch.from_numpy(own[answered] - first),",
        f"{OF_CODES} -k is_what_transformers",
    ),
    Mutant(
        "the response overwrites the code",
        COLLATION,
        "[starts.ravel(), own[inner] + 1]",
        "[starts.ravel(), own[inner] + 1 - first]",
        f"{OF_CODES} -k is_what_transformers",
    ),
    Mutant(
        "stores with and without codes are one",
        "data_modules/pairing/store.py",
        'codes = f" {self.codes.stamp}" if self.codes else ""',
        'codes = ""',
        f"{OF_CODES} -k views_of_pairs",
    ),
    Mutant(
        "texts in one batch are written in the language of the first",
        GENERATION,
        "own = None if starts is None else starts[rows]",
        "own = None if starts is None else starts[:1].expand(len(rows), -1)",
        f"{OF_STARTS} -k forced_first_token",
    ),
    Mutant(
        "the codes of a batch are not sorted with its prompts",
        GENERATION,
        "own = None if starts is None else starts[rows]",
        "own = None if starts is None else starts[: len(rows)]",
        f"{OF_STARTS} -k forced_first_token",
    ),
    Mutant(
        "a written text is trained on without its code",
        CONTINUATION,
        'first_tokens(model, batch["prompt_ids"], batch.get("target_starts"))',
        'batch["prompt_ids"].new_full((len(batch["prompt_ids"]), 1), 2)',
        f"{OF_STARTS} -k trained_on_behind",
    ),
    Mutant(
        "prompts without a response lose their codes",
        CONTINUATION,
        "        **starts_of(batch, chosen),\n",
        "        **starts_of(batch),\n",
        f"{OF_STARTS} -k come_back",
    ),
    Mutant(
        "replayed texts begin with the codes of others",
        "lit_distill/models/generation/replay_buffer.py",
        "starts = torch.stack([text.start for text in chosen])",
        "starts = torch.stack([self.texts[0].start for text in chosen])",
        f"{OF_STARTS} -k replayed",
    ),
    Mutant(
        "M2M-100 counts positions from the old padding until it is saved",
        "lit_distill/models/students/starts/retokenising.py",
        "            module.padding_idx = padding\n",
        "",
        "tests/lit_distill/models/students/starts/test_retokenising.py -k counted_from_the_new",
    ),
    Mutant(
        "the padding of M2M-100 moves, and its positions with it",
        "lit_distill/models/vocabularies/model_trimming.py",
        "(offset or anatomy.counts_from_padding) and",
        "offset and",
        "tests/lit_distill/models/vocabularies/test_model_ids_and_ties.py -k padding_stay",
    ),
    Mutant(
        "whole layers are dropped in training",
        "lit_distill/models/body/dropout.py",
        "            module.layerdrop = 0.0",
        "            pass",
        "tests/lit_distill/models/body/test_language_model.py -k whole_layer",
    ),
)
