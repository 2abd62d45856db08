"""A model with fewer rows: embeddings, heads, biases and every id that its configs name.

Shapes: V rows that are kept, W rows before, D hidden size.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.architectures.table import anatomy_of
from lit_distill.models.vocabularies.token_ids import renumber_configs
from lit_distill.models.vocabularies.vocabulary_map import check_kept


def trim_model(model: PreTrainedModel, kept: tuple[int, ...]) -> None:
    """Leaves a model only the rows of these ids, in their order; its new ids are their places.

    Values of the rows that stay do not change. Tables that were one stay one, and those that were
    apart stay apart, whatever the config says. Rows of no token, by which a table was padded, go
    with the ids that are not kept. The head of a task stays as it is.

    Args:
        model: changed in place.
        kept: old ids, ascending, each once.

    Raises:
        UserError: the architecture is not supported, an id has no row, a config names one that is
            not kept, or tables of different lengths hold tokens. Nothing is changed then.
    """
    anatomy = anatomy_of(type(model).__name__, model.config.to_dict())
    size = len(model.get_input_embeddings().weight)
    check_kept(kept, size)
    tables = token_tables(model, anatomy)
    _check_lengths(tables, size)
    new = {old: place for place, old in enumerate(kept)}
    _check_positions(model, anatomy, new)
    renumber_configs(model, new, size)
    rows = torch.tensor(kept)
    exchanged = {id(old): _shorter(old, rows) for old in tables.values()}  # one for all its names
    for name, old in tables.items():
        path, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(path), leaf, exchanged[id(old)])
    _tell_modules(model, size, new)
    model.config.name_or_path = ""  # its weights are no longer those


def token_tables(model: PreTrainedModel, anatomy: Anatomy) -> dict[str, Tensor]:
    """Parameters and buffers with an entry per token, by every name that they have.

    Weights (W, D) and biases (W,); the constant bias (1, W) of BART and Marian.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    readers: list[PreTrainedModel] = [model]
    if anatomy.encoder_layers_path is not None:
        readers += [model.get_encoder(), model.get_decoder()]
    found = {id(reader.get_input_embeddings().weight) for reader in readers}
    if anatomy.has_head and not anatomy.has_task:
        head = anatomy.lm_head(model)
        found |= {id(part) for part in (head.weight, head.bias) if part is not None}
        spares = {*anatomy.spares, *anatomy.spares.values()}
        found |= {id(named[name]) for name in spares & named.keys()}
    tables: dict[str, Tensor] = {name: part for name, part in named.items() if id(part) in found}
    bias = None if anatomy.has_task or not anatomy.has_head else anatomy.logit_bias(model)
    if bias is not None:
        place = bias.data_ptr()
        tables |= {name: part for name, part in model.named_buffers() if part.data_ptr() == place}
    return tables


def _shorter(old: Tensor, rows: Tensor) -> nn.Parameter | nn.Buffer:
    rows = rows.to(old.device)
    if isinstance(old, nn.Parameter):
        kept = old.detach().index_select(0, rows)
        return nn.Parameter(kept, requires_grad=old.requires_grad)
    return nn.Buffer(old.index_select(-1, rows))


def _check_lengths(tables: dict[str, Tensor], size: int) -> None:
    lengths = {
        name: part.shape[0 if isinstance(part, nn.Parameter) else -1]
        for name, part in tables.items()
    }
    wrong = {name: length for name, length in lengths.items() if length != size}
    if wrong:
        name, length = next(iter(wrong.items()))
        raise UserError(
            f"The model's embeddings have {size} rows and its {name} has {length}: it reads and "
            "writes two vocabularies, and one list of ids cannot trim both."
        )


def _check_positions(model: PreTrainedModel, anatomy: Anatomy, new: dict[int, int]) -> None:
    """RoBERTa and M2M-100 count positions from the padding id, which therefore cannot move."""
    offset, pad = anatomy.position_offset(model.config), model.config.pad_token_id
    if (offset or anatomy.counts_from_padding) and new.get(pad, pad) != pad:
        raise UserError(
            f"A {type(model).__name__} counts positions from its padding id, {pad}, which would "
            f"become {new[pad]}: keep all ids up to it."
        )


def _tell_modules(model: PreTrainedModel, size: int, new: dict[int, int]) -> None:
    """Sizes and padding ids that modules and configs remember."""
    for module in model.modules():
        owners = (module, getattr(module, "config", None))
        for owner, name in product(owners, ("vocab_size", "decoder_vocab_size")):
            if getattr(owner, name, None) == size:
                setattr(owner, name, len(new))
        pad = getattr(module, "padding_idx", None)
        if isinstance(module, nn.Embedding):
            if module.num_embeddings != len(module.weight):
                module.padding_idx = None if pad is None else new.get(pad)
            module.num_embeddings = len(module.weight)
        elif isinstance(pad, int):
            module.padding_idx = new.get(pad, pad)
        if isinstance(module, nn.Linear):
            module.out_features = len(module.weight)
