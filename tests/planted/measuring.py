"""Bugs in what validation measures, and in who reads it when."""

from __future__ import annotations

from planted.mutant import Mutant

LABELS = "tests/lit_distill/measures/test_labels.py"
MEASURE = "tests/lit_distill/measures/test_measure.py"

MEASURING = (
    Mutant(
        "callbacks read the measurements of the validation before",
        "lit_distill/measures/validation.py",
        "callbacks.insert(0, cls())",
        "callbacks.append(cls())",
        f"{MEASURE} -k finds_the_measurement",
    ),
    Mutant(
        "the worst by a metric is kept for the best",
        "callbacks/saving/monitored.py",
        "if metric.name == name and mode != better:",
        "if metric.name == name and mode not in (better, 'min'):",
        f"{MEASURE} -k worst",
    ),
    Mutant(
        "a checkpoint does not say what its scores are",
        "callbacks/saving/export_student.py",
        "[dataclasses.asdict(metric) for metric in self._metrics]",
        "[]",
        f"{MEASURE} -k card",
    ),
    Mutant(
        "the worst language is that of the highest accuracy",
        "callbacks/reports/score_report.py",
        "return -value if metric.smaller_is_better else value",
        "return -value",
        "tests/callbacks/reports/test_score_reports.py -k worst",
    ),
    Mutant(
        "samples are shown of outputs that are no tokens",
        "callbacks/reports/masked_samples.py",
        " or not module.measure.predicts_tokens",
        "",
        f"{MEASURE} -k card",
    ),
    Mutant(
        "regression is measured as classification",
        "lit_distill/measures/logits.py",
        "if student.outputs == 1:",
        "if outputs(student) == 0:",
        f"{LABELS} -k regression",
    ),
    Mutant(
        "labels that never occur count in macro F1",
        "lit_distill/measures/labels.py",
        "return each.sum(-1) / (occurs > 0).sum(-1)",
        "return each.mean(-1)",
        f"{LABELS} -k torchmetrics",
    ),
    Mutant(
        "of equal labels in a batch one is counted",
        "lit_distill/measures/labels.py",
        "weight, accumulate=True)",
        "weight, accumulate=False)",
        f"{LABELS} -k oracle",
    ),
    Mutant(
        "each rank has an F1 of its own",
        "lit_distill/measures/labels.py",
        'self.add_state("counts", default=zeros, dist_reduce_fx="sum")',
        'self.add_state("counts", default=zeros, dist_reduce_fx=lambda each: each[0])',
        f"{LABELS} -k ranks",
    ),
    Mutant(
        "each rank measures terms on texts of its own",
        "lit_distill/measures/terms.py",
        "if self.method.trainer.world_size > 1:",
        "if False:",
        "tests/lit_distill/methods/test_hidden_state_method.py -k every_rank",
    ),
)
"""Scores that are wrong, missing or of another validation."""
