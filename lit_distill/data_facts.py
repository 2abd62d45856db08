"""What a run asks of a data module, ours or somebody else's: the one place that looks.

`docs/own_data_module.md` says what a data module needs. All else may be missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    def teacher_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """What cuts the view `teacher_` of its batches; None where `tokenizer` does."""
        return _said(self.module, "teacher_tokenizer")

    @property
    def src_tokenizer(self) -> PreTrainedTokenizerBase | None:
        """What cuts the view `src_` of its batches, if another one than `tokenizer` does."""
        own: PreTrainedTokenizerBase | None = _said(self.module, "src_tokenizer")
        return None if own is self.tokenizer else own

    @property
    def max_length(self) -> int | None:
        """Tokens of the longest text."""
        length: int | None = _said(self.module, "max_length")
        return length

    @property
    def origins(self) -> list[dict[str, str | None]]:
        """Where texts come from; None where nobody said it.

        Each has `texts`, for people, the `dataset` if it is one of a hub, `languages`, `licence`.
        """
        found = [one for data in self.tasks.values() for one in DataFacts(data).origins]
        if isinstance(licence := _said(self.module, "licence"), str):
            own = {"texts": self.kind, "dataset": None, "languages": None, "licence": licence}
            found.append(own)
        mixes = _listed(_said(self.module, "mixes"))
        parallel = [one for mix in mixes for one in _listed(_said(mix, "parallel"))]
        root = _said(self.module, "data_dir", ".")
        sources = [*_listed(_said(self.module, "sources")), *parallel]
        return found + [{"texts": self.kind, **_origin(source, root)} for source in sources]

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

    @property
    def seen_texts(self) -> Any:
        """What is read of it in training and selection; None where nobody knows."""
        return _said(self.module, "seen_texts")

    @property
    def text_hashes(self) -> Callable[[str], Any] | None:
        """Gives the hashes of the texts of a split; of test texts also before its `setup`."""
        hashes: Callable[[str], Any] | None = _said(self.module, "text_hashes")
        return hashes

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
    def src_reading(self) -> Reading | None:
        """What its other objective makes of the view `src_`; None where batches have none."""
        reading: Reading | None = _said(_said(self.module, "src_objective"), "reading")
        return reading

    @property
    def task_head(self) -> Any:
        """The head that the task needs, a `lit_distill.models.TaskHead`; None: it is not said."""
        return _said(self.module, "task_head")

    @property
    def tasks(self) -> Mapping[str, Any]:
        """The data modules of a mixture of tasks, by task; none of a single one."""
        tasks: Mapping[str, Any] = _said(self.module, "tasks", {})
        return tasks

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


def _listed(value: Any) -> list[Any]:
    """The items of a list; none of anything else that somebody else's module may have."""
    return list(value) if isinstance(value, list | tuple) else []


def _origin(source: Any, root: Any) -> dict[str, str | None]:
    """Where a source has its texts from; relative paths begin at `root`."""
    dataset = _said(source, "dataset")
    names = ("dataset", "config", "revision") if dataset else ("files", "validation", "test")
    given = [_said(source, name) for name in names]
    places = [", ".join(map(str, _listed(one))) or str(one) for one in given if one]
    spoken = [_said(source, "language"), *_listed(_said(source, "languages"))]
    licence = _said(source, "licence")
    local = isinstance(root, str | Path) and Path(root, str(dataset)).exists()
    return {
        **({"texts": " ".join(places)} if places else {}),
        "dataset": str(dataset) if dataset and not local else None,
        "languages": ", ".join(str(one) for one in spoken if one) or None,
        "licence": str(licence) if licence else None,
    }
