"""What a vocabulary got, and from what, as a file beside the tokenizer."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from lit_distill.errors import UserError
from lit_distill.models.loading.tokenizers import backend_hash
from lit_distill.models.vocabularies.growing.new_piece import NewPiece

FILE = "vocabulary_growth.json"
_VERSION = 1


@dataclass(frozen=True)
class VocabularyGrowth:
    """The pieces behind an old vocabulary: ids below `old_tokens` mean what they meant.

    Attributes:
        old_rows: of the model before; more than tokens where its table was padded.
        old_tokens: ids of the tokenizer before; the first new piece has this id.
        pieces: each new piece with the old ids whose rows it began as the mean of, in the order of
            the new ids.
        old_tokenizer: sha256 over vocabulary and pipeline of the tokenizer before (`backend_hash`).
        new_tokenizer: of the grown one.

    Raises:
        UserError: a piece is of none or of unknown ids, or a hash is none.
    """

    old_rows: int
    old_tokens: int
    pieces: tuple[tuple[str, tuple[int, ...]], ...]
    old_tokenizer: str
    new_tokenizer: str

    def __post_init__(self) -> None:
        for text, parts in self.pieces:
            if not parts or not all(
                type(one) is int and 0 <= one < self.old_tokens for one in parts
            ):
                raise UserError(
                    f"A grown vocabulary's piece {text!r} is of {list(parts)}, and has to be of "
                    f"ids in [0, {self.old_tokens}): the file was changed; take it from the folder "
                    "that grow-vocabulary wrote."
                )
        for name in ("old_tokenizer", "new_tokenizer"):
            if not re.fullmatch("[0-9a-f]{64}", str(getattr(self, name))):
                raise UserError(
                    f"A grown vocabulary's {name} is no sha256 of 64 digits: the file was changed; "
                    "take it from the folder that grow-vocabulary wrote."
                )

    @classmethod
    def between(
        cls,
        old: PreTrainedTokenizerFast,
        new: PreTrainedTokenizerFast,
        old_rows: int,
        pieces: tuple[NewPiece, ...],
    ) -> VocabularyGrowth:
        """The record of a tokenizer `old` that grew to `new`."""
        return cls(
            old_rows,
            max(old.get_vocab().values()) + 1,
            tuple((piece.text, piece.parts) for piece in pieces),
            backend_hash(old),
            backend_hash(new),
        )

    def write(self, folder: Path) -> None:
        """Writes `vocabulary_growth.json` into a folder."""
        pieces = [
            {"id": self.old_tokens + place, "piece": text, "from": parts}
            for place, (text, parts) in enumerate(self.pieces)
        ]
        text = json.dumps({"version": _VERSION, **vars(self), "pieces": pieces}, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", "utf-8")

    @classmethod
    def read(cls, folder: Path) -> VocabularyGrowth:
        """The record in a folder.

        Raises:
            UserError: there is none, or it is not what `write` wrote.
        """
        path = folder / FILE
        try:
            found = json.loads(path.read_text("utf-8"))
            if found.pop("version") != _VERSION:
                raise ValueError(f"it is not of version {_VERSION}")
            entries = found.pop("pieces")
            pieces = tuple((entry["piece"], tuple(entry["from"])) for entry in entries)
            numbers = [entry["id"] for entry in entries]
            if numbers != [found["old_tokens"] + place for place in range(len(entries))]:
                raise ValueError("its ids do not follow each other")
            return cls(**found, pieces=pieces)
        except FileNotFoundError as error:
            raise UserError(
                f"{folder} has no {FILE}: give a folder that `grow-vocabulary` wrote."
            ) from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} cannot be read: {error}. Take it from the folder that `grow-vocabulary` "
                "wrote."
            ) from error
