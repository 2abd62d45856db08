"""Another vocabulary for a model whose rows are means of the rows that it has.

Shapes: V new entries of the vocabulary, W old ones, D hidden size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lit_distill.models.architectures.anatomy import Anatomy
from lit_distill.models.body.ties import keep_apart, separate_names


def means(pieces: list[list[int]], entries: int) -> Tensor:
    """A sparse matrix (V, W) that takes a table of old entries to one of new ones.

    Args:
        pieces: of every new entry.
        entries: W.
    """
    rows = [row for row, each in enumerate(pieces) for _ in each]
    columns = [column for each in pieces for column in each]
    shares = [1 / len(each) for each in pieces for _ in each]
    places, shape = torch.tensor([rows, columns]), (len(pieces), entries)
    return torch.sparse_coo_tensor(places, torch.tensor(shares), shape, check_invariants=True)


def exchange(model: PreTrainedModel, anatomy: Anatomy, mix: Tensor) -> None:
    """Replaces embeddings, decoder and biases; what is tied stays tied, and what is not, apart.

    The head of a task is kept: its outputs are no tokens.

    Args:
        model: changed in place; its configs still name old ids.
        anatomy: its row of the table.
        mix: what `means` gave, (V, W).
    """
    own_tables = _own_tables(model, anatomy)
    _exchange_common(model, anatomy, mix)
    for table in {id(table): table for _, table in own_tables}.values():
        table.weight = nn.Parameter(torch.sparse.mm(mix, table.weight.detach()))
        table.num_embeddings, table.padding_idx = len(mix), None
    for reader, table in own_tables:
        reader.set_input_embeddings(table)


def _own_tables(
    model: PreTrainedModel, anatomy: Anatomy
) -> list[tuple[PreTrainedModel, nn.Embedding]]:
    """Encoder and decoder with tables of their own, beside the one that is the model's."""
    if anatomy.encoder_layers_path is None:
        return []
    readers: list[PreTrainedModel] = [model.get_encoder(), model.get_decoder()]
    common = model.get_input_embeddings().weight
    tables = [(reader, reader.get_input_embeddings()) for reader in readers]
    return [(reader, table) for reader, table in tables if table.weight is not common]


def _exchange_common(model: PreTrainedModel, anatomy: Anatomy, mix: Tensor) -> None:
    """Replaces what a model has one of: its embeddings, decoder and biases."""
    embeddings = torch.sparse.mm(mix, model.get_input_embeddings().weight.detach())
    if anatomy.has_task or not anatomy.has_head:
        model.resize_token_embeddings(len(mix), mean_resizing=False)
        with torch.no_grad():
            model.get_input_embeddings().weight.copy_(embeddings)
        return
    old = (anatomy.lm_head(model).bias, anatomy.logit_bias(model))
    weight = torch.sparse.mm(mix, anatomy.lm_head(model).weight.detach())
    biases = [None if bias is None else torch.mv(mix, bias.detach()) for bias in old]
    apart = separate_names(model)
    model.resize_token_embeddings(len(mix), mean_resizing=False)  # ties as the config says
    keep_apart(model, apart)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(embeddings)
        decoder = anatomy.lm_head(model)
        decoder.weight.copy_(weight)
        for place, bias in zip((decoder.bias, anatomy.logit_bias(model)), biases, strict=True):
            if place is not None and bias is not None:
                place.copy_(bias)
