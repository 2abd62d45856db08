"""Vectors of texts learn a teacher's: sentence encoders, and their way into other languages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lit_distill.batch import Batch, Reading
from lit_distill.errors import UserError
from lit_distill.knobs import Temperature, check_knobs, check_one_weighs
from lit_distill.losses import AccumulationWindow, Term, Weight, cosine
from lit_distill.losses.embeddings.teacher_vectors import similarity_kl, vector_mse
from lit_distill.measures import TermMeasure
from lit_distill.models import (
    Encoded,
    Hears,
    check_agreement,
    check_length,
    freeze_without_gradient,
    load_tokenizer,
)
from lit_distill.models.embedding.embedder import Embedder
from lit_distill.models.embedding.pooling import Pooling, pooled
from lit_distill.training.distillation import Distillation


class EmbeddingKD(Distillation):
    """One vector of a text learns the teacher's of the same text, or of its source.

        L = alpha_mse mean over texts of |s - t|^2 / D  +  alpha_cosine mean of 1 - cos(s, t)
          + alpha_similarity mean over texts i of KL(softmax_j cos(t_i, t_j) / temperature
                                                  || softmax_j cos(s_i, s_j) / temperature), j != i

    Needs: a teacher, an encoder or a decoder; its width where vectors themselves are compared.
    Data: `NoTargets` text. Of a `ParallelCorpus` the teacher reads the view `src_`, cut by
    `src_tokenizer`, which must be its own; of other text what the student reads.

    Args:
        embedder: how the student makes a vector.
        teacher_pooling: how the teacher does.
        teacher_normalised: whether the teacher's vectors have length 1.
        alpha_mse: weight of the distance.
        alpha_cosine: weight of the angle.
        alpha_similarity: weight of the similarities, which compare the texts of a batch.
        temperature: of similarities.
        base: see `Distillation`.

    Source: Reimers and Gurevych, 2020 (https://arxiv.org/abs/2004.09813), equation 1, of whose two
    terms this is the one of the translation, or of any text with itself. The mean over the width is
    sentence-transformers' `MSELoss`.
    """

    measured_by = TermMeasure
    hears = Hears.STATES
    needs_head = False
    shares_vocabulary = False
    reads = (Reading.PLAIN,)

    def __init__(
        self,
        embedder: Embedder = Embedder(),  # noqa: B008 (frozen)
        teacher_pooling: Pooling = "mean",
        teacher_normalised: bool = False,
        alpha_mse: Weight = 1.0,
        alpha_cosine: Weight = 0.0,
        alpha_similarity: Weight = 0.0,
        temperature: Temperature = 0.05,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        check_knobs(EmbeddingKD, locals())
        self.alphas = {"mse": alpha_mse, "cosine": alpha_cosine, "similarity": alpha_similarity}
        check_one_weighs(EmbeddingKD, **{f"alpha_{name}": a for name, a in self.alphas.items()})
        self.embedder, self.temperature = embedder, temperature
        self.teacher_pooling, self.teacher_normalised = teacher_pooling, teacher_normalised
        self.couples = ("similarity",) if alpha_similarity != 0 else ()

    def on_models_built(self) -> None:
        """Makes the projection, freezes what no vector reads, and refuses what cannot be heard."""
        models = [self.student, *self.cast.teacher_models.values()]
        if self.ensemble.others or any(model.reads_pairs for model in models):
            raise UserError(
                "EmbeddingKD compares one teacher with one student, encoders or decoders: leave "
                "model.ensemble out, and give no encoder-decoder."
            )
        projection = self.embedder.projection(self.student.hidden_size)
        if projection is not None:
            self.exported["embedding"] = projection
        ids = torch.zeros(1, 2, dtype=torch.int64, device=next(self.student.parameters()).device)
        tiny = Batch(input_ids=ids, attention_mask=torch.ones_like(ids))
        with torch.enable_grad():
            freeze_without_gradient(self.student, [self.student.encode(tiny).hidden])
        if self.teachers:
            self._check_teacher()

    def _check_teacher(self) -> None:
        ours, theirs = self.embedder.width or self.student.hidden_size, self.teacher.hidden_size
        if ours != theirs and (self.alphas["mse"] != 0 or self.alphas["cosine"] != 0):
            raise UserError(
                f"The student's vectors have {ours} numbers and the teacher's {theirs}: set "
                f"model.embedder.width to {theirs}, or weigh similarities alone."
            )
        facts = self.data_facts
        if facts.src_reading not in (None, Reading.PLAIN):
            raise UserError(
                "EmbeddingKD's teacher reads sources as they are written, and data.src_objective "
                "hides some of their tokens: leave it out."
            )
        if facts.max_length is not None:
            check_length(facts.max_length, self.teacher, "teacher")
        cut_by = facts.src_tokenizer or self.tokenizer
        if cut_by is not None:  # nothing else compares what the teacher reads with what it knows
            spec = self.cast.teacher_specs["teacher"]
            check_agreement(cut_by, load_tokenizer(spec.reads), " (the view that it reads)")

    def losses(self, batch: Batch, window: AccumulationWindow) -> dict[str, Term]:
        """A mean over texts of each term; the teacher runs first."""
        if "segments" in batch:
            raise UserError("EmbeddingKD reads one text a row: leave packing out of the data.")
        teacher = self._teachers_vectors(batch)
        projection = self.cast.exported_modules.get("embedding")
        student = self.embedder.vectors(self.student.encode(batch), projection)
        sums = {
            "mse": lambda: vector_mse(student, teacher),
            "cosine": lambda: cosine(student, teacher),
            "similarity": lambda: similarity_kl(student, teacher, self.temperature, self.training),
        }
        return {n: Term(sums[n](), "sequences", a) for n, a in self.alphas.items() if a != 0}

    def _teachers_vectors(self, batch: Any) -> Tensor:
        view = "src_" if "src_input_ids" in batch else ""
        mask, places = batch[f"{view}attention_mask"], batch[f"{view}tokens"]
        ((_, states),) = self.teach(batch, view=view).states(places)
        whole = states.new_zeros(mask.numel(), states.shape[-1]).index_copy(0, places, states)
        found = pooled(Encoded(whole.view(*mask.shape, -1), mask), self.teacher_pooling)
        return torch.nn.functional.normalize(found, dim=-1) if self.teacher_normalised else found
