"""Projections that are computed from the first texts of the training data, before the first step.

Shapes: N texts, D width of the teacher's states.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lit_distill.batch import Batch, read_ids
from lit_distill.counter_random import Purpose, key, uniform, words
from lit_distill.errors import UserError
from lit_distill.losses import Texts, gathered
from lit_distill.models import broadcast_buffers
from lit_distill.training.distillation import Distillation
from lit_distill.training.states.projections import Directions, PCAProjection
from lit_distill.training.states.state_terms import PairedStates

_LONGEST = 2**32  # tokens of a text; its ids are fewer than that, too


@torch.no_grad()
def compute_projections(states: PairedStates, method: Distillation) -> None:
    """Computes the projections that need it; in `on_fit_start`, as validation reads them, too.

    All ranks read their own texts and compute one map from all of them. Those of a checkpoint stay.

    Args:
        states: whose projections they are.
        method: what trains, with its data and its teacher.

    Raises:
        UserError: there is no data module, or it has too few texts.
    """
    projection = states.terms.projection
    if not isinstance(projection, PCAProjection):
        return
    named = {projection.name(pair): pair[1] for pair in states.pairs}
    maps = {name: method.auxiliary.get_submodule(name) for name in named}
    if all(isinstance(one, Directions) and one.is_computed for one in maps.values()):
        return
    found = _first_states(states, method, projection.texts)
    rank_zero_info(
        f"{len(maps)} projections are computed from {len(next(iter(found.values())))} texts."
    )
    for name, other in named.items():
        module, rows = maps[name], found[other]
        assert isinstance(module, Directions)
        if len(rows) < module.matrix.shape[1]:
            raise UserError(
                f"PCAProjection read {len(rows)} texts, which is all that an epoch has, and "
                f"needs {module.matrix.shape[1]}: use more text, or a LinearProjection."
            )
        module.compute(rows, projection.center)
        if method.trainer.world_size > 1:
            broadcast_buffers(module)


def check_computed(states: PairedStates) -> None:
    """Checks that projections have numbers, before anything is measured through them.

    Args:
        states: whose projections they are.

    Raises:
        UserError: they have none, as what is measured has never been fitted.
    """
    for module in states.auxiliary.modules():
        if isinstance(module, Directions) and not module.is_computed:
            raise UserError(
                "PCAProjection has no directions yet: fit computes them before its first step and "
                "writes them into checkpoints, and this one has none. Measure a checkpoint of the "
                "run (--ckpt_path best), or use a LinearProjection."
            )


def _first_states(states: PairedStates, method: Distillation, wanted: int) -> dict[int, Tensor]:
    """The teacher's states (N, D) at one random token of each of the first texts, on the CPU."""
    found: dict[int, list[Tensor]] = {other: [] for other in states.theirs}
    count = 0
    for batch in _batches(method):
        tokens = _random_tokens(batch, torch.initial_seed()).to(method.device)
        batch = move_data_to_device(batch, method.device)
        with method.trainer.precision_plugin.forward_context():
            teacher = method.teach(batch, states.teacher_sites)
        for other, site in states.theirs.items():
            ((_, own),) = teacher.states(tokens, site)
            found[other].append(gathered(own)[0].cpu())
        count += len(found[other][-1])
        if count >= wanted:
            break
    return {other: torch.cat(parts)[:wanted] for other, parts in found.items()}


def _random_tokens(batch: Batch, seed: int) -> Tensor:
    """The flat position (B,) of one token of each text: a function of the seed and its ids alone.

    So the order of texts, padding and the number of ranks change nothing.
    """
    texts, tokens = Texts.of(batch), batch["tokens"]
    ids, starts = read_ids(batch).flatten()[tokens], texts.starts
    places = torch.arange(len(tokens)) - starts.index_select(0, texts.number)
    each = words(key(seed, Purpose.DIRECTIONS), (ids * _LONGEST + places).numpy())
    whole = np.add.reduceat(each, starts.numpy())  # modulo 2^64
    draws = uniform(key(seed, Purpose.DIRECTIONS, whole))
    chosen = (torch.from_numpy(draws) * texts.lengths).long()
    return tokens.index_select(0, starts + chosen)


def _batches(method: Distillation) -> Iterator[Batch]:
    """The first training batches of this rank, for as long as every rank has one.

    Of a loader of their own: the run's begins with the same ones.
    """
    if method.data is None:
        raise UserError(
            "PCAProjection reads the first texts of a data module, and the run has none: give "
            "fit a datamodule, or use a LinearProjection."
        )
    batches = iter(method.data.train_dataloader())
    while True:
        batch = next(batches, None)
        there = torch.tensor([batch is not None], dtype=torch.int64, device=method.device)
        if batch is None or not gathered(there)[0].all():
            return
        yield batch
