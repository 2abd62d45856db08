"""What a run asks of a data module, ours or somebody else's: the one place that looks.

`docs/own_data_module.md` says what a data module needs. All else may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from lit_distill.batch import PromptBatch, Reading


@dataclass(frozen=True)
class DataFacts:
    """What a data module says about its texts, with types; None or nothing where it is silent.

    A fact is looked up when it is asked for: some there are only after the module's `setup`, and
    what the module raises reaches the user then.

    Attributes:
        module: the data module; None where loaders were given bare.
    """

    module: Any

    @property
    def kind(self) -> str:
        """The data module's class, for messages."""
        return type(self.module).__name__

    def lacks(self, *names: str) -> list[str]:
        """Those of several attributes that the data module does not have."""
        return [name for name in names if _said(self.module, name) is None]

    # -- of all texts ---------------------------------------------------------------------------

    @property
    def languages(self) -> Sequence[str]:
        """Names, which `language` of a batch counts from 0; `check_data_module` has checked them.

        Without a data module there are none.
        """
        names: Sequence[str] = () if self.module is None else _said(self.module, "languages")
        return names

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase | None:
        """The tokenizer of the texts."""
        return _said(self.module, "tokenizer")

    @property
    def max_length(self) -> int | None:
        """Tokens of the longest text."""
        length: int | None = _said(self.module, "max_length")
        return length

    @property
    def eos_ids(self) -> Iterable[int]:
        """Ids at which texts end."""
        ids: Iterable[int] = _said(self.module, "eos_ids", ())
        return ids

    @property
    def provenance(self) -> Callable[[], dict[str, Any]] | None:
        """Gives what decides on the texts, by which a teacher cache knows them."""
        given: Callable[[], dict[str, Any]] | None = _said(self.module, "provenance")
        return given

    # -- of what is asked about them ------------------------------------------------------------

    @property
    def objective(self) -> Any:
        """What is predicted: an `Objective` of `data_modules`, or anything of somebody else's."""
        return _said(self.module, "objective")

    @property
    def reading(self) -> Reading | None:
        """What methods call the objective."""
        reading: Reading | None = _said(self.objective, "reading")
        return reading

    @property
    def masked(self) -> bool | None:
        """Whether the objective hides targets from the model; None where it has no targets."""
        masked: bool | None = _said(self.objective, "masked")
        return masked

    @property
    def pairs(self) -> bool:
        """Whether a source and a target are read."""
        return bool(_said(self.objective, "pairs", False))

    @property
    def decoder_start_id(self) -> int | None:
        """The token that targets of pairs begin with."""
        start: int | None = _said(self.module, "decoder_start_id")
        return start

    # -- of prompts -----------------------------------------------------------------------------

    @property
    def sample_prompts(self) -> Callable[[str, int, int], PromptBatch] | None:
        """Gives a batch of prompts: of a split, at most so many per language, by a seed."""
        sample: Callable[[str, int, int], PromptBatch] | None = _said(self.module, "sample_prompts")
        return sample

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest prompt; 1 where nobody knows."""
        return int(_said(_said(self.module, "limits"), "prompt", 1))

    @property
    def partly_labelled(self) -> bool:
        """Whether some prompts have no response."""
        return bool(_said(self.module, "partly_labelled", False))

    @property
    def renders_chats(self) -> bool:
        """Whether prompts are put in a chat template."""
        return bool(_said(_said(self.module, "rendering"), "chat", False))


def _said(module: Any, name: str, default: Any = None) -> Any:
    return getattr(module, name, default)
