"""A teacher that was written down: its likeliest tokens, read again while a student trains.

Shapes: P kept positions, N rows, k likeliest tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lit_distill.batch import TextBatch
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.losses import TeacherSignal, TopK
from lit_distill.losses.rows.row_loss import RowLoss
from lit_distill.models.body.encoded import Site
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.loading.tokenizers import tokenizer_fingerprint
from lit_distill.models.teachers.source import Hears, Identity, SourceIdentity, TeacherSource
from lit_distill.models.teachers.teacher_cache import TeacherCache

Result = TypeVar("Result")


@dataclass(frozen=True)
class CachedOutputs:
    """What the cache says about one batch; see `TeacherOutputs`.

    Attributes:
        cache: where it was read.
        batch: what `TeacherCache.read` made, on its device.
    """

    cache: TeacherCache
    batch: TextBatch

    @property
    def view(self) -> str:
        """See `TeacherOutputs`."""
        return self.cache.view

    def check_losses(self, losses: Sequence[RowLoss]) -> None:
        """See `TeacherCache.check_losses`."""
        self.cache.check_losses(losses)

    def with_signal(self, fn: Callable[[TeacherSignal], Result], rows: Tensor) -> Result:
        """See `TeacherOutputs`."""
        return fn(self.signal(rows))

    def signal(self, rows: Tensor) -> TopK:
        """What is said at flat `rows`: no teacher is run, and its vocabulary exists nowhere."""
        log_p = self.batch["teacher_log_probabilities"].float()
        # Rounding must not make mass: 0.0005 of it where a student has none costs 0.05 nats.
        surplus = log_p.logsumexp(-1) - self.batch["teacher_log_mass"]
        top = TopK(
            self.batch["teacher_ids"],
            log_p - surplus.unsqueeze(-1),
            self.cache.item("temperature"),
            self.cache.item("tail"),
        )
        return top.select(self._order(rows))

    def states(self, rows: Tensor, site: Site | None = None) -> list[tuple[float, Tensor]]:
        """See `TeacherOutputs`; in float32.

        Raises:
            UserError: the cache holds none, or others are asked for than the last ones.
        """
        if site is not None:
            raise _inside(self.cache.folder, [site])
        if "teacher_states" not in self.batch:
            raise UserError(
                "The method compares hidden states and the teacher cache in "
                f"{self.cache.folder} has none: give that term the weight 0 (TripleLoss: "
                "model.alpha_cos), or write a cache with --cache.states true."
            )
        order = self._order(rows)
        states = self.batch["teacher_states"].float()
        return [(1.0, states if order is None else states.index_select(0, order))]

    def hand_over(self, site: Site) -> list[tuple[float, Tensor]]:
        """See `TeacherOutputs`.

        Raises:
            UserError: always; a cache holds last states at most.
        """
        raise _inside(self.cache.folder, [site])

    def _order(self, rows: Tensor) -> Tensor | None:
        """Places (N,) of flat `rows` among the kept positions; None where they are all of them."""
        positions = self.cache.item("positions")
        kept = self.cache.kept(self.batch)
        if rows is kept:
            return None
        if positions != "tokens":
            raise UserError(
                f"The teacher cache in {self.cache.folder} was not made for this run: positions: "
                f"{positions!r} in the cache, 'tokens' now. Restrict the loss to positions with a "
                "target (TripleLoss: model.restrict_kd_to_mask true), or write a cache with "
                "--cache.positions tokens."
            )
        return torch.searchsorted(kept, rows)


def _inside(folder: Path, sites: Sequence[Site]) -> UserError:
    named = ", ".join(f"{site.kind} of layer {site.layer}" for site in sites)
    return UserError(
        f"The method reads {named} of its teacher, and the teacher cache in {folder} holds "
        "no states but the last ones: leave model.teacher_cache out."
    )


class CachedTeacher(TeacherSource):
    """What `cache-teacher` wrote down: training runs no teacher.

    Args:
        folder: of the cache, opened when it is first read.
    """

    gives = frozenset({Hears.TOP_K})
    remedy = (
        "The {who} itself holds numbers that are not finite there, which no learning rate mends: "
        "write it again with `cache-teacher` in float32"
    )

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder).expanduser()
        self._cache: TeacherCache | None = None

    @property
    def cache(self) -> TeacherCache:
        """The cache.

        Raises:
            UserError: there is none, it is not finished, or damaged.
        """
        if self._cache is None:
            self._cache = TeacherCache(self.folder)
        return self._cache

    def identity(self) -> SourceIdentity | None:
        """See `TeacherSource`; None before the cache is opened, as by a validation alone."""
        if self._cache is None:
            return None
        manifest = self._cache.manifest
        teacher: Identity = {**manifest.teacher, "fingerprint": manifest.provenance["teacher"]}
        name = f"the teacher cache {self.folder}"
        return SourceIdentity(name, manifest.fingerprint, {"teacher": teacher})

    def open(self, tokenizer: PreTrainedTokenizerBase | None, data: Any) -> None:
        """See `TeacherSource`.

        Raises:
            UserError: the cache was made for other text or masks; or the data module cannot say
                what decides on its text.
        """
        facts = DataFacts(data)
        provenance = facts.provenance
        if provenance is None:
            raise UserError(
                f"{facts.kind} does not say what decides on its texts, so a teacher "
                "cache cannot be matched with them: use a corpus of `data_modules`."
            )
        own = {"tokenizer": tokenizer_fingerprint(tokenizer)} if tokenizer else {}
        self.cache.check({**own, **provenance()})

    def check(
        self, students: Mapping[str, LanguageModel], teachers: Mapping[str, Identity]
    ) -> None:
        """See `TeacherSource`.

        Raises:
            UserError: a student has another vocabulary or other labels, there are several live
                teachers, or the one has other weights.
        """
        if len(teachers) > 1:
            raise UserError(
                "A teacher cache holds what one teacher says, and model.ensemble names more: leave "
                "one of both out."
            )
        for student in students.values():
            labels = {"labels": student.labels} if student.labels else {}
            self.cache.check({**labels, "vocab_size": student.outputs})
        for teacher in teachers.values():
            self.cache.check({"teacher": teacher["fingerprint"]})

    def read(self, batch: TextBatch) -> TextBatch:
        """See `TeacherCache.read`."""
        return self.cache.read(batch)

    def outputs(
        self, batch: TextBatch, capture: Sequence[Site] = (), view: str = ""
    ) -> CachedOutputs:
        """See `TeacherSource`.

        Raises:
            UserError: a view or a site is asked for.
        """
        if capture:
            raise _inside(self.folder, capture)
        if view != self.cache.view:
            raise UserError(
                f"The method asks its teacher about the view {view!r} of a batch, and the teacher "
                f"cache in {self.folder} holds what was said about the view {self.cache.view!r}: "
                "leave model.teacher_cache out."
            )
        return CachedOutputs(self.cache, batch)

    def non_finite(self, batches: Sequence[TextBatch]) -> dict[str, bool]:
        """See `TeacherSource`; a log-probability of -inf is a forbidden token."""
        kept = [batch["teacher_log_probabilities"] for batch in batches]
        return {"teacher_cache": any(bool((p.isnan() | p.isposinf()).any()) for p in kept)}
