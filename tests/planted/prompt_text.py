"""Bugs between text and token ids: quoted markers, and the border of prompt and response."""

from __future__ import annotations

from planted.mutant import Mutant

MARKERS = "data_modules/text/markers.py"
RENDERING = "data_modules/prompting/rendering.py"
QUOTING = "tests/data_modules/text/test_markers.py"
RENDERED = "tests/data_modules/prompting/test_rendering.py"

PROMPT_TEXT = (
    Mutant(
        "markers in raw texts are control tokens",
        "data_modules/storing/tokenising.py",
        "self._backend = engine(tokenizer)",
        "self._backend = plain_engine(tokenizer)",
        f"{QUOTING} -k quote_markers",
    ),
    Mutant(
        "markers that are pieces of a Unigram model are found in texts",
        MARKERS,
        '[[name(piece), score] for piece, score in model["vocab"]]',
        '[[piece, score] for piece, score in model["vocab"]]',
        f"{QUOTING} -k quote_markers",
    ),
    Mutant(
        "markers that a prompt quotes are control tokens",
        RENDERING,
        "PromptText(self.markers.quoted(row.prompt), response, row.group)",
        "PromptText(row.prompt, response, row.group)",
        f"{RENDERED} -k markers",
    ),
    Mutant(
        "markers that a response quotes are control tokens",
        RENDERING,
        "None if row.response is None else self.markers.quoted(row.response)",
        "row.response",
        f"{RENDERED} -k markers",
    ),
    Mutant(
        "columns count as the template's own words",
        "data_modules/text/templates.py",
        "return Filled(text, tuple(literals))",
        "return Filled(text, ((0, len(text)),))",
        f"{QUOTING} -k own_markers",
    ),
    Mutant(
        "the template's own markers are text",
        MARKERS,
        "parts += [self._quoted(text[done:start]), text[start:stop]]",
        "parts += [self._quoted(text[done:start]), self._quoted(text[start:stop])]",
        f"{QUOTING} -k own_markers",
    ),
    Mutant(
        "a response is tokenised alone, with a space before it",
        RENDERING,
        "self._apart(response) if behind is None else behind",
        "self._encode([response])[0]",
        f"{RENDERED} -k no_space_of_its_own",
    ),
    Mutant(
        "a response inside of a token gets a space that the text does not have",
        RENDERING,
        "self._apart(response) if behind is None else behind",
        "self._encode([response])[0] if behind is None else behind",
        f"{RENDERED} -k cut_apart",
    ),
    Mutant(
        "markers in parallel texts are control tokens",
        "data_modules/pairing/store.py",
        "engine(view.tokenizer) for name",
        "view.tokenizer.backend_tokenizer for name",
        "tests/data_modules/test_parallel.py -k markers",
    ),
)
