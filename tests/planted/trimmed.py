"""Bugs in teachers that read a trimmed vocabulary."""

from __future__ import annotations

from planted.mutant import Mutant

MODEL = "lit_distill/models/vocabularies/trimmed_model.py"
SAID = "tests/lit_distill/models/vocabularies/test_trimmed_model.py"
RUNS = "tests/lit_distill/training/test_trimmed_vocabulary.py"

TRIMMED = (
    Mutant(
        "rows that pad a teacher's table count as lost tokens",
        MODEL,
        "sorted(tokenizer.get_vocab().values()) if",
        "range(rows) if",
        f"{SAID} -k through_the_map",
    ),
    Mutant(
        "what a teacher lost has no bias",
        MODEL,
        "own = None if bias is None else",
        "own = None if True else",
        f"{SAID} -k through_the_map",
    ),
    Mutant(
        "the bucket of a lost share holds what was lost already",
        MODEL,
        "torch.sigmoid(lost - super().logits(rows)",
        "torch.sigmoid(lost - self.logits(rows)",
        f"{SAID} -k unknown_token",
    ),
    Mutant(
        "the bucket replaces the unknown token",
        "lit_distill/losses/fused/head.py",
        "own.copy_(torch.logaddexp(own, others[part].to(own.dtype)))",
        "own.copy_(others[part].to(own.dtype))",
        f"{SAID} -k unknown_token",
    ),
    Mutant(
        "teachers read their own vocabulary",
        "lit_distill/training/cast.py",
        "            self.teacher_specs = reading_alike(self.teacher_specs, self.student_specs)\n",
        "            reading_alike(self.teacher_specs, self.student_specs)\n",
        f"{RUNS} -k lost_is_measured",
    ),
    Mutant(
        "the bucket is not in the order of the rows",
        "lit_distill/losses/fused/head.py",
        "bucket = bucket[0], bucket[1].index_select(0, order)",
        "pass",
        f"{SAID} -k unknown_token",
    ),
)
