"""A student of some layers of its teacher."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs
from lit_distill.models.architectures.table import anatomy_of_type
from lit_distill.models.body.language_model import LanguageModel
from lit_distill.models.body.ties import differing_names, keep_apart
from lit_distill.models.students.fresh_model import absent_in, fresh_model
from lit_distill.models.students.starts.carving import (
    carve_config,
    carve_layers,
    pick_layers_of,
    with_head_of,
)
from lit_distill.models.students.starts.distilbert import distilbert_config, distilbert_weights
from lit_distill.models.students.starts.layer_rules import Layers, pick_layers
from lit_distill.models.students.student_spec import Student


@dataclass(frozen=True)
class LayerCopyStudent(Student):
    """Some layers of the teacher; embeddings and head are copied whole.

    Of n teacher layers (numbered from 0) k are kept:

    - every_other: layer floor(i * n / k) for i = 0 ... k-1 (12 -> 6: 0, 2, 4, 6, 8, 10); of a
      teacher with several kinds of attention (Gemma 2 and 3), each kind is thinned out like that
      where it would lose its share (Gemma 3, 18 -> 9: 0, 2, 4, 5, 7, 9, 11, 12, 14)
    - last_of_group: the last of each of k groups of neighbours (12 -> 6: 1, 3, 5, 7, 9, 11), as the
      layer map `LastOfGroup`; BiStil's
    - spread: at equal distances with the first and the last kept, i (n - 1) / (k - 1) rounded
      (12 -> 6: 0, 2, 4, 7, 9, 11; 12 -> 4: 0, 4, 7, 11)
    - middle_out: the lower half of k from the bottom, the rest from the top (12 -> 6: 0, 1, 2, 9,
      10, 11)
    - first: the lowest k
    - last: the highest k
    - shrink_and_fine_tune: the published tables for teachers of 6, 12 and 16 layers, such as
      Marian's, BART's and Pegasus' decoders (12 -> 3: 0, 6, 11; 12 -> 4: 0, 4, 8, 11)
    - distilbert: DistilBERT's own 0, 2, 4, 7, 9, 11 of 12
    - a list: those, in that order

    Attributes:
        layers: the choice.
        num_layers: k; by default floor(n / 2), at least 1.
        encoder_layers: the same choice for the encoder of an encoder-decoder (`layers` are its
            decoder's); None keeps it whole (shrink and fine-tune).
        num_encoder_layers: k of the encoder, where `encoder_layers` is a rule.
        distilbert: turn a BERT teacher into a DistilBERT: no pooler, and no token types (type 0 is
            folded into the positions, so that the embeddings' output stays the teacher's).
        fresh_head: where the teacher is a body alone and logits are trained (`MaskedLM`), begin
            with its language model's head at random.
    """

    layers: Layers = "every_other"
    num_layers: Count | None = None
    distilbert: bool = False
    encoder_layers: Layers | None = None
    num_encoder_layers: Count | None = None
    fresh_head: bool = False

    def __post_init__(self) -> None:
        check_knobs(LayerCopyStudent, vars(self))
        if self.num_encoder_layers is not None and self.encoder_layers is None:
            raise UserError(
                f"LayerCopyStudent: num_encoder_layers={self.num_encoder_layers} is how many, and "
                "encoder_layers, which is by what rule, is missing: add encoder_layers=spread."
            )

    @property
    def heads_itself(self) -> bool:
        """See `Student`."""
        return self.fresh_head

    def start(
        self, teacher: LanguageModel | None, vocab_size: int, needs_head: bool = True
    ) -> LanguageModel:
        """See `Student.start`."""
        del vocab_size
        if teacher is None:
            raise UserError(
                "LayerCopyStudent takes its layers from a teacher and none is given: set "
                "model.init_args.teacher.name, or use PretrainedStudent or FreshStudent."
            )
        picked = pick_layers_of(teacher, self.layers, self.num_layers)
        encoder = self._encoder_layers(teacher)
        weights = carve_layers(teacher, picked, encoder)
        if self.distilbert:
            own = teacher.anatomy
            anatomy = anatomy_of_type("distilbert", own.predicts, own.has_head)
            config = distilbert_config(teacher, len(picked))
            weights = distilbert_weights(weights)
        else:
            anatomy, config = teacher.anatomy, carve_config(teacher, picked, encoder)
        body = self.fresh_head and needs_head and not anatomy.has_head
        if body:  # of a class with a head
            anatomy = anatomy_of_type(anatomy.model_type)
        student = fresh_model(anatomy, config, absent_in(teacher, anatomy))
        if body:
            weights = with_head_of(student, weights)
        keep_apart(student.model, differing_names(student.model, weights))
        student.model.load_state_dict(weights, strict=True)  # copies, and widens to float32
        if student.model.can_generate() and not body:
            student.model.generation_config = copy.deepcopy(teacher.model.generation_config)
        return student

    def _encoder_layers(self, teacher: LanguageModel) -> list[int]:
        count = len(teacher.anatomy.encoder_layers(teacher.model))
        if self.encoder_layers is None:
            return list(range(count))
        if not count:
            raise UserError(
                f"encoder_layers is for encoder-decoders, and the teacher is a "
                f"{type(teacher.model).__name__}: leave it out."
            )
        return pick_layers(self.encoder_layers, self.num_encoder_layers, count)
