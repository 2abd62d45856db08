"""New pieces for the words of some texts, per kind of tokenizer.

Every kind starts from words as the old normaliser and pre-tokenizer leave them, with the number of
times that each occurs; no piece goes beyond one of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from tokenizers import Tokenizer, models, trainers

from lit_distill.models.vocabularies.growing.merging import LEAST, learn_merges
from lit_distill.models.vocabularies.growing.new_piece import Growth, NewPiece
from lit_distill.models.vocabularies.growing.tokenizer_growing import grown_parts

_CANDIDATES = 2
"""Times as many candidates as pieces: some are only steps to longer ones, and stand nowhere."""


def words_of(backend: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs.

    Args:
        backend: of a tokenizer, whose normaliser and pre-tokenizer make words.
        texts: any.
    """
    words: Counter[str] = Counter()
    normalizer, pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    for text in texts:
        normal = text if normalizer is None else normalizer.normalize_str(text)
        words.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normal))
    return words


def find_pieces(
    backend: Tokenizer, known: Mapping[str, int], words: Mapping[str, int], most: int
) -> Growth:
    """The pieces that a vocabulary is to get for some words.

    - Byte-level BPE: merges on top of the old ones (`learn_merges`), whose pieces are all needed.
    - Unigram: such merges give candidates. WordPiece: a WordPiece vocabulary that is trained on the
      words does. Of them, those that save most tokens are taken, uses in the words times tokens
      that one use saves, as the tokenizer with all candidates cuts them; of equals, the first in
      the order of their texts. One that stands nowhere once others are out is left out as well.

    A piece that the old tokenizer cannot spell out, because a part of it would be unknown or bytes
    in the place of a character, is no candidate: its row would be no mean of anything.

    Args:
        backend: of the old tokenizer.
        known: ids of all that the vocabulary has.
        words: what `words_of` gave.
        most: pieces at most.
    """
    parts = json.loads(backend.to_str())
    model, runs = parts["model"], _runs(parts["model"], backend, words)

    def merged(count: int) -> list[NewPiece]:
        texts = [left + right for left, right in learn_merges(runs, known, count)]
        return _candidates(model, {text: _ids(backend, text) for text in texts})

    if model["type"] == "BPE":
        merges = learn_merges(runs, known, most)
        texts = [left + right for left, right in merges]
        pieces = [NewPiece(text, _ids(backend, text), text) for text in texts]
        return Growth(tuple(pieces), tuple(merges))
    uses = Uses(parts, 1 + max(known.values()), words)
    if model["type"] == "Unigram":
        return _searched(uses, merged, most)
    spelt = {text: _longest(model, text) for text in _trained(model, words) if text not in known}
    every = _candidates(model, spelt)
    return _searched(uses, lambda count: every[:count], most)


def _candidates(model: dict[str, Any], spelt: Mapping[str, tuple[int, ...]]) -> list[NewPiece]:
    """Pieces of several old ones, all of which are text."""
    strange = _strange(model)
    return [
        NewPiece(text, ids, text)
        for text, ids in spelt.items()
        if len(ids) > 1 and strange.isdisjoint(ids)
    ]


def cut(model: Any, word: str) -> list[tuple[int, str]]:
    """Ids and texts of the pieces into which a tokenizer's model cuts a word."""
    return [(token.id, token.value) for token in model.tokenize(word)]


def _ids(backend: Tokenizer, word: str) -> tuple[int, ...]:
    return tuple(number for number, _ in cut(backend.model, word))


def _strange(model: dict[str, Any]) -> set[int]:
    """Ids of what is no text of its own: the unknown token, bytes in the place of a character."""
    if model["type"] == "Unigram":
        found = {model["unk_id"]} - {None}
        if model.get("byte_fallback"):
            bytes_ = {f"<0x{byte:02X}>" for byte in range(256)}
            found |= {place for place, (text, _) in enumerate(model["vocab"]) if text in bytes_}
        return found
    return {model["vocab"].get(model.get("unk_token"))} - {None}


def _runs(
    model: dict[str, Any], backend: Tokenizer, words: Mapping[str, int]
) -> Counter[tuple[str, ...]]:
    """The old pieces of all words, as texts; what is strange cuts a word in two."""
    strange, runs = _strange(model), Counter[tuple[str, ...]]()
    for word, times in words.items():
        pieces = cut(backend.model, word)
        for is_strange, run in groupby(pieces, lambda piece: piece[0] in strange):
            if not is_strange:
                runs[tuple(text for _, text in run)] += times
    return runs


def _trained(model: dict[str, Any], words: Mapping[str, int]) -> list[str]:
    """The pieces of a WordPiece vocabulary for the words, in the order in which they are learnt."""
    characters = {character for word in words for character in word}
    trainer = trainers.WordPieceTrainer(
        vocab_size=2 * len(characters) + sum(map(len, words)),  # all that occur often enough
        min_frequency=LEAST,
        limit_alphabet=len(characters),
        continuing_subword_prefix=model["continuing_subword_prefix"],
        show_progress=False,
    )
    learner = Tokenizer(models.WordPiece(unk_token=model["unk_token"]))
    learner.train_from_iterator((word for word, n in words.items() for _ in range(n)), trainer)
    learnt: dict[str, int] = learner.get_vocab()
    return sorted(learnt, key=learnt.__getitem__)


def _longest(model: dict[str, Any], text: str) -> tuple[int, ...]:
    """The old ids of a piece that WordPiece cuts, at a word's start or inside, longest first.

    Nothing where a part of it is unknown.
    """
    prefix, ids = model["continuing_subword_prefix"], []
    inside = text.startswith(prefix) and text != prefix
    rest = text.removeprefix(prefix) if inside else text
    while rest:
        mark = prefix if inside else ""
        ends = (end for end in range(len(rest), 0, -1) if mark + rest[:end] in model["vocab"])
        end = next(ends, 0)
        if not end:
            return ()
        ids.append(int(model["vocab"][mark + rest[:end]]))
        rest, inside = rest[end:], True
    return tuple(ids)


class Uses:
    """How often pieces stand in words, once a tokenizer has them.

    Args:
        parts: of the old tokenizer.json.
        first: the id of the first new piece.
        words: with their numbers of times.
    """

    def __init__(self, parts: dict[str, Any], first: int, words: Mapping[str, int]) -> None:
        self._parts, self._first, self._words = parts, first, words

    def of(self, pieces: Sequence[NewPiece]) -> tuple[Counter[str], dict[str, str]]:
        """The number of times of each that stands in a word at all, and the first such word."""
        grown = grown_parts(self._parts, Growth(tuple(pieces)), self._first)
        model = Tokenizer.from_str(json.dumps(grown)).model
        uses: Counter[str] = Counter()
        stands: dict[str, str] = {}
        for word, times in self._words.items():
            for number, text in cut(model, word):
                if number >= self._first:
                    uses[text] += times
                    stands.setdefault(text, word)
        return uses, stands


def _searched(uses: Uses, candidates: Callable[[int], Sequence[NewPiece]], most: int) -> Growth:
    """The best of so many candidates that enough of them are in use, or of all."""
    count = _CANDIDATES * most
    while True:
        found = candidates(count)
        chosen = chosen_of(uses, found, most)
        if len(chosen) == most or len(found) < count:
            return Growth(chosen)
        count *= 2


def chosen_of(uses: Uses, candidates: Sequence[NewPiece], most: int) -> tuple[NewPiece, ...]:
    """Those that save most tokens, each with a word in which it stands.

    Args:
        uses: in the words.
        candidates: any.
        most: pieces at most.
    """
    times, _ = uses.of(candidates)
    ranked = [piece for piece in candidates if times[piece.text]]
    ranked.sort(key=lambda piece: (-times[piece.text] * piece.saved, piece.text))
    while True:
        chosen, others = ranked[:most], ranked[most:]
        times, stands = uses.of(chosen)
        in_use = [piece for piece in chosen if times[piece.text]]
        if len(in_use) == len(chosen):
            return tuple(replace(piece, word=stands[piece.text]) for piece in chosen)
        ranked = in_use + others
