"""Bugs in vectors of texts."""

from __future__ import annotations

from planted.mutant import Mutant

POOLING = "lit_distill/models/embedding/pooling.py"
LOSSES = "lit_distill/losses/embeddings/teacher_vectors.py"
METHOD = "lit_distill/methods/embeddings/embedding_kd.py"
OF_POOLING = "tests/lit_distill/models/embedding/test_pooling.py"
OF_LOSSES = "tests/lit_distill/losses/embeddings/test_teacher_vectors.py"
OF_METHOD = "tests/lit_distill/methods/test_embedding_kd.py"

EMBEDDINGS = (
    Mutant(
        "padding has a part in the vector of a text",
        POOLING,
        "else mask).to(states.dtype)",
        "else torch.ones_like(mask)).to(states.dtype)",
        OF_POOLING,
    ),
    Mutant(
        "the last state of a text is the last column",
        POOLING,
        "places.amax(1, keepdim=True)",
        "mask.shape[1]",
        OF_POOLING,
    ),
    Mutant(
        "a text is compared with itself",
        LOSSES,
        "scores.masked_fill(itself, -1e30)",
        "scores",
        OF_LOSSES,
    ),
    Mutant(
        "a rank leaves out the texts of another",
        LOSSES,
        "places = first + ",
        "places = 0 * first + ",
        f"{OF_LOSSES} -k two_ranks",
    ),
    Mutant(
        "the teacher reads the translation",
        METHOD,
        'view = "src_" if "src_input_ids" in batch else ""',
        'view = "tgt_" if "src_input_ids" in batch else ""',
        f"{OF_METHOD} -k source",
    ),
)
