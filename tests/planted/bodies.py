"""Bugs in what a body gives: which tensors, with which weights, of which positions."""

from __future__ import annotations

from planted.mutant import Mutant

BODY = "lit_distill/models/body/"
LOADING = "lit_distill/models/loading/pretrained.py"
TESTS = "tests/lit_distill/models/body/"
HEADLESS = "tests/lit_distill/models/students/test_headless.py"

MUTANTS = (
    Mutant(
        "weights are read without the model's own call",
        f"{BODY}language_model.py",
        "result: Result = model(method, *args, **kwargs)",
        "result: Result = method(model, *args, **kwargs)",
        f"{TESTS}test_door.py -k through_the_door",
    ),
    Mutant(
        "a body of another length has the mask of what it reads",
        f"{BODY}language_model.py",
        "self.anatomy.mask(self.model, named_inputs(self.anatomy, batch, view))",
        'named_inputs(self.anatomy, batch, view)["attention_mask"]',
        f"{TESTS}test_door.py -k another_length",
    ),
    Mutant(
        "the layer whose projections are read runs whole",
        f"{BODY}language_model.py",
        'whole = self.reads_pairs or not ends.isdisjoint(("hidden", "attention"))',
        "whole = True",
        f"{TESTS}test_projections.py -k nothing_else",
    ),
    Mutant(
        "attention stays with its formula after a capture",
        f"{BODY}captures.py",
        "            config._attn_implementation = implementation\n",
        "            pass\n",
        f"{TESTS}test_sites.py -k whatever_kernel",
    ),
    Mutant(
        "layers are run again with another kernel than before",
        f"{BODY}captures.py",
        "    if again and any(",
        "    if False and any(",
        f"{TESTS}test_sites.py -k another_kernel",
    ),
    Mutant(
        "packed rows see each other where attention runs by its formula",
        f"{BODY}inputs.py",
        ".masked_fill_(~seen, lowest)",
        "",
        f"{TESTS}test_language_model.py -k packed_rows_equal",
    ),
    Mutant(
        "methods of logits are given a body without a head",
        LOADING,
        "bodies = ANATOMIES if not (needs_head or fresh_head) else ()",
        "bodies = ANATOMIES if not fresh_head else ()",
        f"{HEADLESS} -k refuse",
    ),
    Mutant(
        "a pooler that a file lacks is drawn at random",
        LOADING,
        "    leave_out(model, absent_modules(anatomy, report))\n",
        "",
        f"{HEADLESS} -k pooler",
    ),
)
