"""Bugs in what is learnt from a teacher's answers, and what students are measured by."""

from __future__ import annotations

from planted.mutant import Mutant

LABELS = "lit_distill/tools/labelling/pseudo_label.py"
LABELLED = "tests/lit_distill/tools/labelling/test_pseudo_label.py"
WRITTEN = "tests/callbacks/written_text/test_continuations.py"

ANSWERS = (
    Mutant(
        "held-out prompts are among the labels",
        LABELS,
        'train = [label for label in labels if label.split == "train"]',
        "train = labels",
        f"{LABELLED} -k held_out_prompts",
    ),
    Mutant(
        "a teacher's answers to held-out prompts are their references",
        LABELS,
        'label.answer if label.split == "train" else label.reference',
        "label.answer",
        f"{LABELLED} -k by_references",
    ),
    Mutant(
        "a teacher's answers are held out to measure students",
        "data_modules/prompting/sources.py",
        "return isinstance(next(mark, None), str)",
        "return False",
        f"{LABELLED} -k by_references",
    ),
    Mutant(
        "answers lose the space they begin with",
        LABELS,
        "label.answer = _text(data, read, tokens)",
        "label.answer = _text(data, read, tokens).strip()",
        f"{LABELLED} -k read_again",
    ),
    Mutant(
        "a student is compared with references twice",
        "callbacks/written_text/continuations.py",
        '{} if self.answer is None else {"teacher": self.answer}',
        '{"teacher": self.reference or ""}',
        f"{WRITTEN} -k both_numbers",
    ),
    Mutant(
        "answers belong to other prompts",
        "data_modules/prompting/store.py",
        "self._answers += [row.teacher for row, _ in rows]",
        "self._answers += [row.teacher for row, _ in reversed(rows)]",
        f"{LABELLED} -k by_references",
    ),
    Mutant(
        "prompts without a reference count as wrong",
        "lit_distill/tools/comparing/compare_texts.py",
        "if all(name in one for name in METRICS)}",
        "for one in [{'exact_match': 0.0, 'chrf': 0.0, **one}]}",
        "tests/lit_distill/tools/comparing/test_compare_texts.py -k without_a_reference",
    ),
    Mutant(
        "answers that are given as validation measure students",
        "data_modules/prompting/sources.py",
        "return any(isinstance(known, str) and own != known for own, known in pairs)",
        "return False",
        f"{LABELLED} -k by_references",
    ),
    Mutant(
        "the report has one number only",
        "callbacks/written_text/generation_metrics.py",
        'key.removeprefix(f"{prefix}/"): value for key, value in metrics.items()',
        'key.removeprefix(f"{prefix}/"): value for key, value in logged(table, prefix).items()',
        f"{LABELLED} -k both_numbers",
    ),
    Mutant(
        "a text that may be cut off is counted as dropped for it",
        LABELS,
        '"not ended" if keep.ended and not ended else "keep"',
        '"keep" if ended else "not ended"',
        f"{LABELLED} -k cut_off",
    ),
)
