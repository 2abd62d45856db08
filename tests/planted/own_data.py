"""Bugs of data modules of somebody else's that would train wrong, or end in a traceback."""

from __future__ import annotations

from planted.mutant import Mutant

OWN_TEST = "tests/lit_distill/training/test_own_data_module.py"

CONTRACT = (
    Mutant(
        "batches of foreign data modules are not looked at",
        "lit_distill/training/distillation.py",
        "        self._first_batches.check(batch, self.data, students, training, dataloader_idx)\n",
        "",
        f"{OWN_TEST} -k loader",
    ),
    Mutant(
        "texts padded on the left are taken for texts",
        "lit_distill/models/fitting/first_batch.py",
        "(mask[:, 1:] > mask[:, :-1]).any()",
        "(mask[:, 1:] > 1).any()",
        f"{OWN_TEST} -k fit",
    ),
    Mutant(
        "losses are divided by counts that nobody counted",
        "lit_distill/models/fitting/first_batch.py",
        "counts.get(name) != found[name]",
        "(counts.get(name) or 0) < 0",
        f"{OWN_TEST} -k fit",
    ),
    Mutant(
        "a decoder's labels are taken for those of the position itself",
        "lit_distill/batch.py",
        "    if next_token:\n",
        "    if not next_token:\n",
        f"{OWN_TEST} -k labels",
    ),
)
"""What a batch may look like."""
