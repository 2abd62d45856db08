"""A narrower student of its teacher's weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from logging import getLogger
from typing import Literal

from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.models.architectures.widths import Widths, widths_of
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.body.ties import differing_names, keep_apart
from lit_distill.models.students.fresh_model import absent_in, fresh_model
from lit_distill.models.students.narrowing.shape import narrow_config, narrower, shape_of
from lit_distill.models.students.narrowing.weights import Narrowing
from lit_distill.models.students.starts.carving import carve_config, carve_layers, pick_layers_of
from lit_distill.models.students.starts.layer_rules import Layers
from lit_distill.models.students.student_spec import Student

_log = getLogger(__name__)


@dataclass(frozen=True)
class NarrowCopyStudent(Student):
    """The teacher with a narrower residual stream, fewer heads and narrower feed-forward blocks.

    Every weight is cut out of the teacher's. Heads keep their width; those that share keys and
    values stay together, and evenly spaced groups of them are kept. At the teacher's own sizes the
    student is the teacher, by either way. Encoders and decoders in the manner of BERT, GPT-2 and
    Llama; others are refused.

    - slice: the first dimensions of the stream, of every weight and norm.
    - svd: the principal directions of the embeddings. The stream is rotated to them and the others
      are cut off, of decoders alone: where a norm comes after a block (BERT) or a head has a layer
      of its own (ModernBERT), single dimensions have a meaning that no rotation keeps. A head that
      shares its table with the embeddings gets its own, since the last norm's gain moves into it.

    Attributes:
        hidden_size: width of the residual stream.
        how: the way.
        num_heads: how many; None: as the hidden size. Where their widths add up to the hidden size
            (BERT, GPT-2) there is no choice.
        intermediate_size: width of the feed-forward blocks; None: as the hidden size.
        feed_forward: which of their neurons are kept: evenly spaced ones, or ("norm") those whose
            outgoing weights have the largest L2 norms, in the teacher's order.
        layers: which layers, as of `LayerCopyStudent`; None: all.
        num_layers: how many, where `layers` is a rule.

    Source: the subsets of "slice" follow weight selection (Xu et al., 2024,
    https://arxiv.org/abs/2311.18823), the rotation SliceGPT (Ashkboos et al., 2024,
    https://arxiv.org/abs/2401.15024); see `narrowing/weights.py` for what differs.
    """

    hidden_size: Count
    how: Literal["slice", "svd"] = "slice"
    num_heads: Count | None = None
    intermediate_size: Count | None = None
    feed_forward: Literal["even", "norm"] = "even"
    layers: Layers | None = None
    num_layers: Count | None = None

    def __post_init__(self) -> None:
        check_knobs(NarrowCopyStudent, vars(self))

    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """See `Student.start`."""
        del vocab_size, needs_head
        if teacher is None:
            raise UserError(
                "NarrowCopyStudent takes its weights from a teacher and none is given: set "
                "model.init_args.teacher.name, or use PretrainedStudent or FreshStudent."
            )
        if self.num_layers is not None and self.layers is None:
            raise UserError(
                f"NarrowCopyStudent: num_layers={self.num_layers} is how many, and layers, which "
                "is by what rule, is missing: add layers=every_other."
            )
        anatomy, widths = teacher.anatomy, widths_of(teacher.anatomy)
        if self.how == "svd":
            self._check_rotation(teacher, widths)
        old = shape_of(teacher.config, anatomy)
        new = narrower(old, widths, self.hidden_size, self.num_heads, self.intermediate_size)
        every = list(range(len(teacher.layers)))
        picked = pick_layers_of(teacher, self.layers or every, self.num_layers)
        config = narrow_config(carve_config(teacher, picked), anatomy, new)
        narrowing = Narrowing(anatomy, widths, old, new, self.how, self.feed_forward)
        weights = narrowing.apply(carve_layers(teacher, picked))
        student = fresh_model(anatomy, config, absent_in(teacher, anatomy))
        apart = differing_names(student.model, weights)
        keep_apart(student.model, apart)
        if apart and config.tie_word_embeddings:
            _log.warning("The student's head has a table of its own: %s.", ", ".join(apart))
        student.model.load_state_dict(weights, strict=True)  # copies, and narrows to float32
        if student.model.can_generate():
            student.model.generation_config = copy.deepcopy(teacher.model.generation_config)
        return student

    def _check_rotation(self, teacher: LanguageModel, widths: Widths) -> None:
        """Refuses models whose stream cannot be rotated."""
        kind = type(teacher.model).__name__
        if not widths.reads:
            raise UserError(
                f"how=svd rotates the residual stream, and single dimensions of a {kind} have a "
                "meaning of their own, in norms after its blocks or in the layer of its head: use "
                "how=slice, or FreshStudent with embeddings=svd."
            )
        if not teacher.anatomy.has_head:
            raise UserError(
                f"how=svd moves the gain of the last norm into the head, and a {kind} has none: "
                "use how=slice, or a teacher with its head."
            )
        if self.hidden_size < 2:
            raise UserError("how=svd needs a hidden_size of at least 2.")
