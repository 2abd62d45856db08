"""Bugs in the methods."""

from __future__ import annotations

from planted.mutant import Mutant

EVERY_METHOD = "tests/test_every_method.py -k triple_loss"
CO_DISTILLATION = "tests/lit_distill/methods/test_co_distillation.py"

METHODS = (
    Mutant(
        "output distributions of all tokens are divided by the masked ones",
        "lit_distill/methods/logits/output_distribution.py",
        '(batch["tokens"], "tokens")',
        '(batch["tokens"], "rows")',
        "tests/lit_distill/methods/test_output_distribution.py -k formula",
    ),
    Mutant(
        "output distributions at padding",
        "lit_distill/methods/logits/output_distribution.py",
        '(batch["tokens"], "tokens")',
        '(batch["tokens"].new_tensor(range(batch["input_ids"].numel())), "tokens")',
        "tests/lit_distill/methods/test_output_distribution.py -k formula",
    ),
    Mutant(
        "cosine over the student and itself",
        "lit_distill/methods/logits/triple_loss.py",
        "share * cosine(states, its)",
        "share * cosine(states, states)",
        "tests/lit_distill/methods/test_triple_loss.py",
    ),
    Mutant(
        "shared keys belong to the wrong heads",
        "lit_distill/models/body/projections.py",
        "split.repeat_interleave(count // heads, -2)",
        "split.repeat(1, 1, count // heads, 1)",
        "tests/lit_distill/methods/test_minilm.py",
    ),
    Mutant(
        "soft targets at padding",
        "lit_distill/methods/logits/triple_loss.py",
        'rows, per = batch["tokens"], "tokens"',
        'rows, per = batch["tokens"].new_tensor(range(batch["input_ids"].numel())), "tokens"',
        EVERY_METHOD,
    ),
    Mutant(
        "cosines at padding",
        "lit_distill/methods/logits/triple_loss.py",
        "if self.alpha_cos != 0:\n            states",
        "if self.alpha_cos != 0:\n"
        '            whole = batch["tokens"].new_tensor(range(batch["input_ids"].numel()))\n'
        '            batch = {**batch, "tokens": whole}\n'
        "            states",
        EVERY_METHOD,
    ),
    Mutant(
        "divergences begin when one model is better than chance",
        "lit_distill/methods/peers/co_distillation.py",
        "self.waiting = not all(",
        "self.waiting = not any(",
        f"{CO_DISTILLATION} -k chance",
    ),
    Mutant(
        "the average runs away with the student",
        "lit_distill/methods/peers/mutual_learning.py",
        "kept.lerp_(new, 1 - self.decay)",
        "kept.lerp_(new, self.decay)",
        "tests/lit_distill/methods/test_mutual_learning.py -k average",
    ),
)
