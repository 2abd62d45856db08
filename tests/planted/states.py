"""Bugs in what is compared of hidden states."""

from __future__ import annotations

from planted.mutant import Mutant

METHOD = "lit_distill/methods/hidden_states/hidden_states.py"
MAPS = "lit_distill/training/states/layer_maps.py"
TERMS = "lit_distill/training/states/state_terms.py"
LOSSES = "lit_distill/losses/state_losses.py"
OF_METHOD = "tests/lit_distill/methods/test_hidden_states.py"
OF_LOSSES = "tests/lit_distill/losses/test_state_losses.py"

STATES = (
    Mutant(
        "the last state is read in front of the final norm",
        TERMS,
        "    if state == len(model.layers):\n        return None\n",
        "",
        f"{OF_METHOD} -k modernbert",
    ),
    Mutant(
        "states are those of the layer above",
        TERMS,
        'Site("hidden", state - 1) if state',
        'Site("hidden", state) if state',
        f"{OF_METHOD} -k own_hidden_states",
    ),
    Mutant(
        "every pair has the first one's projection",
        TERMS,
        "projection.name((own, other))",
        "projection.name(self.pairs[0])",
        f"{OF_METHOD} -k own_hidden_states",
    ),
    Mutant(
        "states at padding",
        METHOD,
        'self.states.of(batch["tokens"], student',
        'self.states.of(torch.arange(batch["input_ids"].numel()), student',
        "tests/test_every_method.py -k hidden_states",
    ),
    Mutant(
        "a uniform map that is rounded up",
        MAPS,
        "return [(i, i * teacher // student) for i",
        "return [(i, -(-i * teacher // student)) for i",
        f"{OF_METHOD} -k published",
    ),
    Mutant(
        "upper groups are the larger ones",
        MAPS,
        "min(i, more)",
        "max(0, i - count + more)",
        f"{OF_METHOD} -k published",
    ),
    Mutant(
        "normalised targets of another variance",
        LOSSES,
        "wanted = functional.layer_norm(teacher, teacher.shape[-1:], eps=self.eps)",
        "wanted = (teacher - teacher.mean(-1, True)) / (teacher.std(-1, keepdim=True) + self.eps)",
        OF_LOSSES,
    ),
    Mutant(
        "a sum over the width",
        LOSSES,
        'return functional.l1_loss(student, teacher, reduction="none").mean(-1).sum()\n\n',
        'return functional.l1_loss(student, teacher, reduction="none").sum()\n\n',
        OF_LOSSES,
    ),
)
