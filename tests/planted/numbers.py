"""Bugs that give wrong numbers without a word."""

from __future__ import annotations

from planted.mutant import Mutant

NUMBERS = (
    Mutant(
        "0 log 0 is NaN where a teacher forbids a token",
        "lit_distill/measures/logits.py",
        "torch.where(p == 0, 0.0, p * (log_p - log_q))",
        "(p * (log_p - log_q))",
        "tests/lit_distill/measures/test_logits.py",
    ),
    Mutant(
        "likeliest tokens of log-probability -inf give NaN",
        "lit_distill/losses/fused/signals.py",
        "log_p = log_p.clamp_min(torch.finfo(log_p.dtype).min / 64)",
        "",
        "tests/lit_distill/losses/fused/test_signals.py -k forbids",
    ),
    Mutant(
        "NaN logits are token 0, greedily",
        "lit_distill/models/generation/token_draws.py",
        "        _check(logits.gather(-1, likeliest).isfinite())\n",
        "",
        "tests/lit_distill/models/generation/test_generation.py -k broken",
    ),
    Mutant(
        "NaN logits are some token, drawn",
        "lit_distill/models/generation/token_draws.py",
        "    _check(ends[:, -1:].isfinite())\n",
        "",
        "tests/lit_distill/models/generation/test_generation.py -k broken",
    ),
    Mutant(
        "a skewed KL without skew ends at 87.3",
        "lit_distill/losses/rows/mixtures.py",
        "return _FORWARD.with_slope(p, q)",
        "pass",
        "tests/lit_distill/losses/rows/test_row_losses.py -k bounded",
    ),
    Mutant(
        "methods that adapt hear of no validation of a fit",
        "lit_distill/measures/validation.py",
        "if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:",
        "if trainer.training:",
        "tests/lit_distill/methods/test_co_distillation.py -k divergences",
    ),
    Mutant(
        "weights of 64 bits pass through 32 when a run goes on",
        "lit_distill/training/checkpoints.py",
        "        who.students.double()\n",
        "        pass\n",
        "tests/lit_distill/training/test_distillation.py -k very_weights",
    ),
    Mutant(
        "exported students do not stop at the teacher's ends",
        "lit_distill/training/checkpoints.py",
        "for model in (*who.student_models.values(), *who.teacher_models.values()):",
        "for model in who.student_models.values():",
        "tests/callbacks/saving/test_student_ends.py -k instructed",
    ),
    Mutant(
        "the settings with which a student writes are dropped",
        "callbacks/saving/student_folder.py",
        'own = description["students"][name].get("generation")',
        "own = None",
        "tests/callbacks/saving/test_student_ends.py -k carved",
    ),
    Mutant(
        "a resumed run says another rate and uses the saved one",
        "lit_distill/training/updates.py",
        'group.update(options, initial_lr=options["lr"])',
        "pass",
        "tests/lit_distill/training/test_updates.py -k takes_the",
    ),
    Mutant(
        "a resumed run takes the rate of its schedule one update late",
        "lit_distill/training/updates.py",
        '            group["lr"] = rate\n',
        "            pass\n",
        "tests/lit_distill/training/test_updates.py -k at_once",
    ),
    Mutant(
        "the trial of the validation counts as one",
        "lit_distill/measures/validation.py",
        "if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:",
        "if trainer.state.fn == TrainerFn.FITTING:",
        "tests/lit_distill/methods/test_co_distillation.py -k divergences",
    ),
)
"""Values that were NaN, saturated, or never computed."""
