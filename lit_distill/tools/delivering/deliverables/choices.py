"""What a user can choose of an ONNX export: what is inside, how int8 is made, what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lit_distill.knobs import Count, Positive, Share, check_knobs
from lit_distill.measures.probing import Pooling

Format = Literal["hf", "onnx", "onnx-int8"]


@dataclass(frozen=True)
class OnnxSpec:
    """What an ONNX file computes beside the forward of its model.

    Attributes:
        pooling: an embedder of this pooling: one vector for each text. null: what the folder's
            modules.json says (sentence-transformers writes it), and where there is none, the
            model's own logits.
        normalized: whether that vector has length 1; null: as modules.json, or else true.
        cache: a decoder that takes keys and values of what it has read and gives those of all, to
            write text with; else its logits alone.
    """

    pooling: Pooling | None = None
    normalized: bool | None = None
    cache: bool = False


@dataclass(frozen=True)
class Int8Spec:
    """What becomes int8, and how. Activations always do when the file runs.

    Attributes:
        embeddings: whether embeddings do, too: most of a multilingual model. With a scale for each
            row.
        per_channel: a scale for each output of a matrix, not one for all of it.
        reduce_range: seven bits, for processors without VNNI, where sums of eight overflow.
        blocks: numbers of a weight's row, and of an activation, that share a scale; null: one for
            an output's weights, and one for all activations at a place, which single large numbers
            spoil: large decoders have some. Then `per_channel` and `reduce_range` do nothing.
    """

    embeddings: bool = True
    per_channel: bool = True
    reduce_range: bool = False
    blocks: Literal[16, 32, 64, 128] | None = None


@dataclass(frozen=True)
class Gate:
    """How far an export may be from its model; beyond it is refused.

    "Every language" holds for the row of the shortest and longest texts, too.

    Attributes:
        texts: how many of each language are read.
        difference: float32: largest difference of a logit (of an embedder, a coordinate).
        agreement: float32: share of decisions that are the model's, in every language.
        int8_agreement: the same of int8, over all languages.
        int8_worst_agreement: and in every language.
        int8_kl: KL from the model's distribution, in nats, over all languages.
        int8_worst_kl: and in every language.
        int8_similarity: of what has no distribution, in every language: mean cosine of embeddings,
            correlation of numbers.
        lost_score: accuracy on labelled texts that may be lost, in every language.
    """

    texts: Count = 50
    difference: Positive = 1e-3
    agreement: Share = 0.999
    int8_agreement: Share = 0.9
    int8_worst_agreement: Share = 0.85
    int8_kl: Positive = 0.05
    int8_worst_kl: Positive = 0.1
    int8_similarity: Share = 0.98
    lost_score: Share = 0.01

    def __post_init__(self) -> None:
        check_knobs(Gate, vars(self))


@dataclass(frozen=True)
class Request:
    """All that is asked of one ONNX export.

    Attributes:
        int8: how int8 is made; None: the file stays float32.
        texts: files of held text by language; nothing: the embedded phrasebook.
        labelled: tables with the columns `text` and `label` by language.
        onnx: what the file computes.
        gate: what is refused.
    """

    int8: Int8Spec | None = None
    texts: dict[str, str] = field(default_factory=dict)
    labelled: dict[str, str] = field(default_factory=dict)
    onnx: OnnxSpec = OnnxSpec()
    gate: Gate = field(default_factory=Gate)
