"""Which texts a model has read, as hashes beside its weights.

An evaluation asks it before it believes a score. H hashes of 64 bits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from tokenize import TokenError
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from lit_distill.errors import UserError

Hashes = NDArray[np.uint64]

LIMIT = 2_000_000
"""Most hashes that are kept, 16 MB; of more texts, a share that is chosen by the hashes."""
HASHES, ABOUT = "seen_texts.npy", "seen_texts.json"
_FORMAT = 1


def hashes_of(texts: Iterable[str]) -> Hashes:
    """A 64-bit hash (H,) of every text, the same whatever its case, white space and width of forms.

    Texts are compared after compatibility composition (NFKC), case folding and without white space,
    so that lists of tokens, joined or not, and lines of a file are one text. The odds that one of a
    thousand texts shares its hash with one of two million others are 1 in 10 ** 10.
    """
    bare = ("".join(normalize("NFKC", text).casefold().split()) for text in texts)
    digests = b"".join(blake2b(text.encode("utf-8"), digest_size=8).digest() for text in bare)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


@dataclass(frozen=True)
class SeenTexts:
    """Texts that were trained on or selected by.

    Attributes:
        hashes: (H,) uint64, sorted, each once.
        one_in: those that `one_in` divides are there, no others; a power of two.
    """

    hashes: Hashes
    one_in: int = 1

    @classmethod
    def among(cls, hashes: Hashes, one_in: int = 1, limit: int = LIMIT) -> SeenTexts:
        """All of these, or the largest share of them that the limit has room for.

        Args:
            hashes: (H,), in any order and as often as they come.
            one_in: the share that they are themselves.
            limit: most hashes.
        """
        kept = np.unique(hashes)
        while len(kept := kept[kept % np.uint64(one_in) == 0]) > limit:
            one_in *= 2
        return cls(kept, one_in)

    @classmethod
    def of(cls, folder: Path) -> SeenTexts | None:
        """What is noted in a folder: of a model, a run, or a split of a corpus; None: nothing is.

        Raises:
            UserError: the files are damaged.
        """
        path = folder / HASHES
        try:
            about = json.loads((folder / ABOUT).read_text("utf-8"))
            hashes = np.load(path, allow_pickle=False)
            one_in = about["one_in"]
            sound = (
                about["format"] == _FORMAT
                and type(one_in) is int
                and 0 < one_in < 2**63
                and one_in & (one_in - 1) == 0
                and hashes.dtype == np.uint64
                and hashes.ndim == 1
                and len(hashes) == about["hashes"]
                and bool((hashes[1:] > hashes[:-1]).all())
                and not (hashes % np.uint64(one_in)).any()
            )
        except FileNotFoundError:
            if not path.exists() and not (folder / ABOUT).exists():
                return None
            sound = False
        except (OSError, EOFError, ValueError, TypeError, LookupError, SyntaxError, TokenError):
            sound = False
        if not sound:
            raise UserError(
                f"{path} and {ABOUT} beside it do not say which texts were read: they are damaged, "
                "or of another release. Take them from where the folder came from; without both, "
                "no text counts as seen."
            )
        return cls(hashes, one_in)

    def joined(self, other: SeenTexts, limit: int = LIMIT) -> SeenTexts:
        """The texts of both, as far as the coarser one of the two can tell."""
        both = np.concatenate([self.hashes, other.hashes])
        return SeenTexts.among(both, max(self.one_in, other.one_in), limit)

    def overlap(self, hashes: Hashes) -> int:
        """How many different texts (H,) are among those; of a share only its own are compared."""
        own = np.unique(hashes)
        return len(np.intersect1d(own, self.hashes, assume_unique=True))

    def write(self, folder: Path) -> None:
        """Writes both files into a folder; whoever wants them whole or not at all replaces it."""
        np.save(folder / HASHES, self.hashes, allow_pickle=False)
        about = {"format": _FORMAT, "hashes": len(self.hashes), "one_in": self.one_in}
        (folder / ABOUT).write_text(f"{json.dumps(about)}\n", "utf-8")
