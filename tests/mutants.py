"""Bugs that peers have shipped or that we feared, planted one at a time.

Each is one textual change in one file and the tests that must turn red; `test_mutants.py` plants
them in a copy of the project.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """A bug: in `file`, `old` (found exactly once) becomes `new`, and `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


EVERY_METHOD = "tests/test_every_method.py -k triple_loss"

MUTANTS = (
    Mutant(
        "mean of means: each micro-batch divides by its own count",
        "lit_distill/window.py",
        'sum(batch["counts"][name] for batch in batches)',
        'batches[0]["counts"][name] * len(batches)',
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "the division by the accumulation is not undone",
        "lit_distill/distillation.py",
        "return loss * (accumulate * self.trainer.world_size)",
        "return loss * self.trainer.world_size",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "the averaging of gradients over ranks is not undone",
        "lit_distill/distillation.py",
        "return loss * (accumulate * self.trainer.world_size)",
        "return loss * accumulate",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "each rank divides by its own count",
        "lit_distill/distillation.py",
        "reduce = self._reduce if self.trainer.world_size > 1 else None",
        "reduce = None",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "weights applied twice",
        "lit_distill/window.py",
        "return weight_at(weight, self.progress) / total",
        "return weight_at(weight, self.progress) ** 2 / total",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "teacher in training mode",
        "lit_distill/distillation.py",
        "            teacher.eval()\n",
        "            pass\n",
        "tests/lit_distill/test_distillation.py",
    ),
    Mutant(
        "student in eval mode: no dropout",
        "lit_distill/distillation.py",
        "        self.train()\n",
        "        self.eval()\n",
        "tests/lit_distill/test_distillation.py",
    ),
    Mutant(
        "teacher saved in every checkpoint",
        "lit_distill/checkpoints.py",
        "        del state[key]\n",
        "        pass\n",
        "tests/lit_distill/test_distillation.py",
    ),
    Mutant(
        "teacher trained with the student",
        "lit_distill/models/teacher.py",
        ".requires_grad_(False)",
        "",
        "tests/lit_distill/models/test_teacher.py",
    ),
    Mutant(
        "T squared dropped",
        "lit_distill/losses/divergences.py",
        "return self.temperature**2 if self.t_squared else 1.0",
        "return 1.0",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "attention mask ignored",
        "lit_distill/models/language_model.py",
        "for n in self.anatomy.inputs if view + n in keys}",
        "for n in self.anatomy.inputs if view + n in keys and n != 'attention_mask'}",
        f"{EVERY_METHOD}",
    ),
    Mutant(
        "cosine over the student and itself",
        "lit_distill/methods/triple_loss.py",
        "share * cosine(states, its)",
        "share * cosine(states, states)",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "unmasked rows predict token 0",
        "lit_distill/batch.py",
        'torch.full((batch["input_ids"].numel(),), IGNORED, device=rows.device)',
        'torch.zeros(batch["input_ids"].numel(), dtype=torch.int64, device=rows.device)',
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "the type-0 embedding is not folded into the positions",
        "lit_distill/models/carving.py",
        "tensor = tensor.to(wide) + types[0].to(wide)",
        "tensor = tensor.to(wide)",
        "tests/lit_distill/models/test_carving.py",
    ),
    Mutant(
        "pads count as tokens",
        "data_modules/collation.py",
        '"tokens": len(tokens),',
        '"tokens": count * width,',
        "tests/data_modules/test_collation.py",
    ),
    Mutant(
        "the same masks in every pass",
        "data_modules/masking.py",
        "Purpose.MASK, texts.passes, texts.windows",
        "Purpose.MASK, texts.passes * 0, texts.windows",
        "tests/data_modules/test_masking.py",
    ),
    Mutant(
        "special tokens are masked",
        "data_modules/objectives.py",
        "        maskable[tokenizer.all_special_ids] = False\n",
        "",
        "tests/data_modules/test_objectives.py",
    ),
    Mutant(
        "the derivative of the soft cap is left out",
        "lit_distill/losses/tiles.py",
        "total.mul_(1 - (student.values / cap).square())",
        "total",
        "tests/lit_distill/losses/test_linear.py",
    ),
    Mutant(
        "carved layers take the kind of attention of their new place",
        "lit_distill/models/carving.py",
        'values["layer_types"] = [values["layer_types"][number] for number in picked]',
        'values["layer_types"] = values["layer_types"][: len(picked)]',
        "tests/lit_distill/models/test_carving.py",
    ),
    Mutant(
        "the loss is divided by the accumulation twice under DeepSpeed",
        "lit_distill/distillation.py",
        "            loss = loss * accumulate\n",
        "            pass\n",
        "tests/lit_distill/test_strategies.py",
    ),
    Mutant(
        "layers stay compiled while their projections are captured",
        "lit_distill/models/language_model.py",
        '    compiled = vars(layer).pop("forward", None)\n',
        "    compiled = None\n",
        "tests/lit_distill/models/test_execution.py",
    ),
    Mutant(
        "a teacher cache is read for other masks than those of the batch",
        "lit_distill/models/teacher_cache.py",
        'items + batch["variant"].numpy() * self.item("windows")',
        "items + 0",
        "tests/lit_distill/tools/test_cache_teacher.py",
    ),
    Mutant(
        "rounding gives mass to tokens that a teacher cache does not hold",
        "lit_distill/models/teacher_cache.py",
        "log_p - surplus.unsqueeze(-1)",
        "log_p",
        "tests/lit_distill/tools/test_cache_teacher.py",
    ),
    Mutant(
        "every pass draws new masks although a cache holds a few",
        "data_modules/collation.py",
        "passes = passes % self.variants",
        "pass",
        "tests/data_modules/test_corpus.py",
    ),
    Mutant(
        "a run goes on from another teacher cache",
        "lit_distill/checkpoints.py",
        'if (then and then["fingerprint"]) != (now and now["fingerprint"]):',
        "if False:",
        "tests/lit_distill/test_learner.py",
    ),
    Mutant(
        "a half-written shard counts as whole",
        "lit_distill/tools/cache_shards.py",
        "with replacing(path) as beside:",
        "for beside in [path]:",
        "tests/lit_distill/tools/test_cache_teacher.py",
    ),
)
