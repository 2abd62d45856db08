"""Bugs in what is learnt and measured of tasks."""

from __future__ import annotations

from planted.mutant import Mutant

WHOLE = "lit_distill/methods/labels/_whole_logits.py"
FINE_TUNE = "tests/lit_distill/methods/test_fine_tune.py"
VALUES = "tests/lit_distill/measures/test_values.py"
LOYALTY = "tests/lit_distill/measures/test_loyalty.py"

FINE_TUNING = (
    Mutant(
        "the teacher reads the student's text",
        "lit_distill/methods/labels/fine_tune.py",
        "self.teach(batch, theirs, view)",
        'self.teach(batch, theirs, "")',
        f"{FINE_TUNE} -k views",
    ),
    Mutant(
        "an option that is none is one more option",
        WHOLE,
        '(batch["options"] >= 0).sum(1)',
        '(batch["options"] >= -1).sum(1)',
        f"{FINE_TUNE} -k choices",
    ),
    Mutant(
        "every rank has temperatures around a mean of its own",
        WHOLE,
        "return total if window.reduce is None else window.reduce(total)",
        "return total",
        f"{FINE_TUNE} -k ranks",
    ),
    Mutant(
        "rows far from the teacher are warmer",
        "lit_distill/losses/rows/dynamic_temperature.py",
        "self.loss.beta * (self.mean - own)",
        "self.loss.beta * (own - self.mean)",
        "tests/lit_distill/losses/rows/test_dynamic_temperature.py -k cooler",
    ),
    Mutant(
        "a new head has the data's order of labels and its teacher another",
        "lit_distill/models/fitting/labels.py",
        "return TaskHead(data.predicts, tuple(teacher.labels))",
        "return data",
        f"{FINE_TUNE} -k in_its_order",
    ),
    Mutant(
        "a fine-tuned checkpoint loses its head",
        "lit_distill/models/students/starts/pretrained.py",
        "if bare and self._new_head() is None else self",
        "if self._new_head() is None else self",
        f"{FINE_TUNE} -k of_its_own_stays",
    ),
    Mutant(
        "a foreign teacher's tokenizer is compared with the run's",
        "lit_distill/models/fitting/vocabulary.py",
        "check_agreement(teacher_tokenizer or tokenizer, theirs)",
        "check_agreement(tokenizer, theirs)",
        f"{FINE_TUNE} -k another_tokenizer",
    ),
    Mutant(
        "the root of the Jensen-Shannon distance is drawn twice",
        "lit_distill/measures/loyalty.py",
        ".clamp(0, 1).sqrt()",
        ".clamp(0, 1).sqrt().sqrt()",
        f"{LOYALTY} -k closed_form",
    ),
    Mutant(
        "every error counts as invented",
        "lit_distill/measures/loyalty.py",
        "taught_right, wrong & taught_right",
        "taught_right, wrong",
        f"{LOYALTY} -k is_loyal",
    ),
    Mutant(
        "validation gives the teacher of numbers the student's text",
        "lit_distill/measures/values.py",
        "taught = teach(models, self.method.ensemble, batch, view=view)",
        "taught = teach(models, self.method.ensemble, batch)",
        f"{VALUES} -k reads",
    ),
    Mutant(
        "choices are counted for the language of another example",
        "lit_distill/measures/logits.py",
        "numbers = decision_groups(metric.grouping(batch), batch)",
        "numbers = metric.grouping(batch)[: len(known)]",
        f"{VALUES} -k choices",
    ),
)
