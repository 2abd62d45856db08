"""Bugs in how numbers of a config are checked."""

from __future__ import annotations

from planted.mutant import Mutant

TEST = "tests/lit_distill/test_knobs.py"
EACH = f"{TEST}::test_a_knob_takes_its_range_and_nothing_else"

KNOBS = (
    Mutant(
        "a range without its upper end",
        "lit_distill/knobs.py",
        "value <= _high(span)",
        "True",
        f"{EACH}[SequenceKD.gold_share]",
    ),
    Mutant(
        "a range without its lower end",
        "lit_distill/knobs.py",
        "value >= _low(span)",
        "True",
        f"{EACH}[DistiLLM.threshold]",
    ),
    Mutant(
        "True passes for the number 1",
        "lit_distill/knobs.py",
        "isinstance(value, bool) or not",
        "not",
        f"{EACH}[Corpus.max_broken]",
    ),
    Mutant(
        "a method whose weights are all 0 trains nothing",
        "lit_distill/knobs.py",
        "if all(not callable(weight)",
        "if False and all(not callable(weight)",
        f"{TEST}::test_a_method_without_any_weight_is_refused",
    ),
    Mutant(
        "types of subclasses are not checked while a config is read",
        "lit_distill/losses/rows/divergences.py",
        "# Types are objects here",
        "from __future__ import annotations\n# Types are objects here",
        f"{TEST}::test_every_type_is_checked_while_a_config_is_read",
    ),
    Mutant(
        "a learning rate of 1e38 is tried",
        "lit_distill/training/optimizer_checks.py",
        "not 0 <= rate <= HIGHEST_RATE",
        "not 0 <= rate",
        "tests/lit_distill/training/test_updates.py::test_optimizers_that_cannot_work_are_refused",
    ),
)
"""What a number of a config may be."""
