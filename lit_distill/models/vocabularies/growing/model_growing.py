"""A model with rows for new pieces: embeddings, heads and biases, each the mean of old rows."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedModel

from lit_distill.errors import UserError
from lit_distill.models.architectures.table import anatomy_of
from lit_distill.models.vocabularies.growing.new_piece import NewPiece
from lit_distill.models.vocabularies.mixing import exchange, means
from lit_distill.models.vocabularies.model_trimming import token_tables


def grow_model(model: PreTrainedModel, tokens: int, pieces: Sequence[NewPiece]) -> None:
    """Gives a model a row for each new piece, behind those of its tokens.

    Old rows keep their places and values. Rows of no token, by which a table was padded, are gone:
    the new ones begin where they began, and the table ends with the last new one. Tables that were
    one stay one, and those that were apart stay apart. The head of a task stays as it is.

    Args:
        model: changed in place.
        tokens: rows that are tokens, from the first.
        pieces: new ones, in the order of their ids.

    Raises:
        UserError: the tokenizer has tokens that the model has no row for, or the model reads and
            writes two vocabularies. Nothing is changed then.
    """
    size = check_tables(model, tokens)
    anatomy = anatomy_of(type(model).__name__, model.config.to_dict())
    old = [[number] for number in range(tokens)]
    new = [list(piece.parts) for piece in pieces]
    exchange(model, anatomy, means(old + new, size))
    model.config.name_or_path = ""  # its weights are no longer those


def check_tables(model: PreTrainedModel, tokens: int) -> int:
    """The number of rows of a model that can grow.

    Args:
        model: stays as it is.
        tokens: ids of its tokenizer.

    Raises:
        UserError: the tokenizer has tokens that the model has no row for, or the model reads and
            writes two vocabularies.
    """
    anatomy = anatomy_of(type(model).__name__, model.config.to_dict())
    size = len(model.get_input_embeddings().weight)
    if tokens > size:
        raise UserError(
            f"The tokenizer has ids up to {tokens - 1} and the model {size} rows, so that new "
            "pieces would stand behind rows that are not there: it cannot grow."
        )
    for name, part in token_tables(model, anatomy).items():
        length = part.shape[-1] if part.dim() == 1 or name.endswith("bias") else len(part)
        if length != size:
            raise UserError(
                f"The model's embeddings have {size} rows and its {name} has {length}: it reads "
                "and writes two vocabularies, and one list of pieces cannot grow both."
            )
    return size
