"""Bugs in what is known of models."""

from __future__ import annotations

from planted.mutant import Mutant

EVERY_METHOD = "tests/test_every_method.py -k triple_loss"
CO_DISTILLATION = "tests/lit_distill/methods/test_co_distillation.py"

MODELS = (
    Mutant(
        "teacher trained with the student",
        "lit_distill/models/teachers/teacher.py",
        ".requires_grad_(False)",
        "",
        "tests/lit_distill/models/teachers/test_teacher.py",
    ),
    Mutant(
        "attention mask ignored",
        "lit_distill/models/body/inputs.py",
        "for n in anatomy.inputs if view + n in batch}",
        "for n in anatomy.inputs if view + n in batch and n != 'attention_mask'}",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "the type-0 embedding is not folded into the positions",
        "lit_distill/models/students/starts/distilbert.py",
        "tensor = tensor.to(wide) + types[0].to(wide)",
        "tensor = tensor.to(wide)",
        "tests/lit_distill/models/students/starts/test_carving.py",
    ),
    Mutant(
        "carved layers take the kind of attention of their new place",
        "lit_distill/models/students/starts/carving.py",
        'values["layer_types"] = [values["layer_types"][number] for number in picked]',
        'values["layer_types"] = values["layer_types"][: len(picked)]',
        "tests/lit_distill/models/students/starts/test_carving.py",
    ),
    Mutant(
        "layers stay compiled while their projections are captured",
        "lit_distill/models/body/captures.py",
        '    compiled = vars(layer).pop("forward", None)\n',
        "    compiled = None\n",
        "tests/lit_distill/models/body/test_execution.py -k really_compiled",
    ),
    Mutant(
        "the revision of a model is dropped",
        "lit_distill/models/loading/pretrained.py",
        '"revision": self.revision or "main"',
        '"revision": "main"',
        "tests/lit_distill/models/loading/test_hub.py -k pinned",
    ),
    Mutant(
        "an ensemble is the mean of logits whatever was asked for",
        "lit_distill/models/teachers/ensemble.py",
        '"probabilities": MeanOfProbabilities,',
        '"probabilities": MeanOfLogits,',
        "tests/lit_distill/models/teachers/test_ensemble.py",
    ),
    Mutant(
        "the teacher is read one layer too low",
        "lit_distill/models/body/projections.py",
        "    return layer - 1\n",
        "    return max(layer - 2, 0)\n",
        "tests/lit_distill/methods/test_minilm_v2.py",
    ),
    Mutant(
        "the norm before the projections is left out",
        "lit_distill/models/body/captures.py",
        "read = layer.get_submodule(anatomy.norm_path)(read)",
        "pass",
        "tests/lit_distill/models/body/test_projections.py",
    ),
    Mutant(
        "what no loss reaches stays trainable",
        "lit_distill/models/students/freezing.py",
        "if parameter.requires_grad and parameter not in reached:",
        "if False:",
        f"{EVERY_METHOD.replace('triple_loss', 'minilm_v2-bert')}",
    ),
    Mutant(
        "a teacher cache is read for other masks than those of the batch",
        "lit_distill/models/teachers/teacher_cache.py",
        'items + batch["variant"].numpy() * self.item("windows")',
        "items + 0",
        "tests/lit_distill/tools/caching/test_cache_teacher.py",
    ),
    Mutant(
        "rounding gives mass to tokens that a teacher cache does not hold",
        "lit_distill/models/teachers/cached.py",
        "log_p - surplus.unsqueeze(-1)",
        "log_p",
        "tests/lit_distill/tools/caching/test_cache_teacher.py",
    ),
    Mutant(
        "RoBERTa's positions begin at zero",
        "lit_distill/models/architectures/encoders.py",
        "return int(config.pad_token_id) + 1",
        "return 0",
        "tests/lit_distill/models/body/test_language_model.py",
    ),
    Mutant(
        "the transform of the head is not carved",
        "lit_distill/models/students/starts/distilbert.py",
        '(r"^cls\\.predictions\\.transform\\.dense\\.", "vocab_transform."),',
        "",
        "tests/lit_distill/models/students/starts/test_carving.py",
    ),
    Mutant(
        "feed-forward blocks keep their width where states are narrower",
        "lit_distill/models/students/starts/config_changes.py",
        "_fit_width(new, config, name in changed, name)",
        "_fit_width(new, config, True, name)",
        "tests/lit_distill/models/students/starts/test_student.py",
    ),
    Mutant(
        "the scale of the logits is forgotten",
        "lit_distill/models/architectures/decoders.py",
        "return rows_ND / float(model.config.logits_scaling)",
        "return rows_ND",
        "tests/lit_distill/models/body/test_language_model.py -k granite",
    ),
    Mutant(
        "all models draw the same dropout and the same initial weights",
        "lit_distill/models/body/dropout.py",
        'f"{self.seed} {self.name} {self._place} {self._times}"',
        'f"{self.seed} {self._place} {self._times}"',
        f"{CO_DISTILLATION} -k differently",
    ),
)
