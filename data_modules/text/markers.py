"""Control tokens of a tokenizer, told from text that quotes them.

A tokenizer reads the characters "</s>" as its control token wherever they stand: in a text about
tokenizers as in a chat template. Here a control token is read by another name, which begins with a
character that Unicode keeps out of all text; what stands there without it is text. So templates
write control tokens, and texts cannot.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer

from data_modules.text.templates import Filled

NAME = "\ufdd0"
"""Begins the name of a control token. It and `QUOTE` are noncharacters of Unicode."""
QUOTE = "\ufdd1"
"""Stands inside of a marker that a text quotes, until a template has been put around the text."""
REPLACEMENT = "\ufffd"


class Markers:
    """The written forms of control tokens: what is text is quoted, what is control is named.

    Args:
        markers: such as "</s>" and "[MASK]".
    """

    def __init__(self, markers: Iterable[str]) -> None:
        longest_first = sorted(filter(None, markers), key=len, reverse=True)
        # The first characters are looked for alone: tokenizers may have thousands of markers.
        first = "".join(sorted({re.escape(marker[0]) for marker in longest_first}))
        any_of = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(f"(?=[{first}])(?:{any_of})" if first else "(?!)")

    def quoted(self, text: str) -> str:
        """A text of the data, in which `named` will find no markers but those of its template."""
        if not isinstance(text, Filled):
            return self._quoted(text)
        parts, done = [], 0
        for start, stop in text.literals:
            parts += [self._quoted(text[done:start]), text[start:stop]]
            done = stop
        return "".join([*parts, self._quoted(text[done:])])

    def any_in(self, text: str) -> bool:
        """Whether a text has control tokens, by its template."""
        return self._pattern.search(self.quoted(text)) is not None

    def _quoted(self, text: str) -> str:
        text = text.replace(NAME, REPLACEMENT).replace(QUOTE, REPLACEMENT)
        return self._pattern.sub(lambda found: found[0][0] + QUOTE + found[0][1:], text)

    def named(self, text: str) -> str:
        """A rendered text as an `engine` takes it: control tokens named, quotes taken off."""
        return self._pattern.sub(lambda found: NAME + found[0], text).replace(QUOTE, "")


def markers_of(tokenizer: Any) -> Markers:
    """The markers of a tokenizer: its special tokens, whatever their role."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    special = {token.content for token in added if token.special}
    return Markers(special.union(tokenizer.all_special_tokens))


def plain_engine(tokenizer: Any) -> Tokenizer:
    """A fast tokenizer's engine, as a copy without the truncation and padding it may be set to."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def engine(tokenizer: Any) -> Tokenizer:
    """A `plain_engine` that reads markers as text, and control tokens by their names alone.

    All ids are those of the tokenizer. To have the engine pass its control tokens over would not
    do: Unigram models have them in their vocabulary, and would find them in text once more.
    """
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec["truncation"] = spec["padding"] = None
    special = {token["content"] for token in spec["added_tokens"] if token["special"]}
    special.update(tokenizer.all_special_tokens)

    def name(piece: str) -> str:
        return NAME + piece if piece in special else piece

    for token in spec["added_tokens"]:
        if token["content"] in special:
            token.update(content=name(token["content"]), normalized=False)
    model = spec["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {name(piece): number for piece, number in model["vocab"].items()}
    else:
        model["vocab"] = [[name(piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token") is not None:
        model["unk_token"] = name(model["unk_token"])
    if "merges" in model:  # letters must not grow together into a marker either
        merges = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
        model["merges"] = [
            [one, two] for one, two in merges if special.isdisjoint((one, two, one + two))
        ]
    return Tokenizer.from_str(json.dumps(spec))
