"""Bugs in how students start: which layers, which dimensions, which directions."""

from __future__ import annotations

from planted.mutant import Mutant

STARTS = "lit_distill/models/students/starts"
RULES = f"{STARTS}/layer_rules.py"
NARROWING = "lit_distill/models/students/narrowing"
WEIGHTS = f"{NARROWING}/weights.py"
DIRECTIONS = f"{NARROWING}/directions.py"
TESTS = "tests/lit_distill/models/students"
OF_RULES = f"{TESTS}/starts/test_layer_rules.py"
OF_COPIES = f"{TESTS}/starts/test_narrow_copy.py"
OF_DIRECTIONS = f"{TESTS}/narrowing/test_directions.py"
OF_EMBEDDINGS = f"{TESTS}/starts/test_fresh_embeddings.py"

LAYERS = (
    Mutant(
        "spread layers are cut off and not rounded",
        RULES,
        "(2 * i * (count - 1) + steps) // (2 * steps)",
        "(2 * i * (count - 1)) // (2 * steps)",
        f"{OF_RULES} -k their_tables",
    ),
    Mutant(
        "a published table is a rounded linspace",
        RULES,
        "    return list(rows[keep])\n",
        "    return _spread(keep, count)\n",
        f"{OF_RULES} -k their_tables",
    ),
    Mutant(
        "a size without a row is the lowest layers, as in the published code",
        RULES,
        "    if rows is None or keep not in rows:\n",
        "    if rows is None or keep not in rows:\n        return _first(keep, count)\n",
        f"{OF_RULES} -k without_a_row",
    ),
    Mutant(
        "the last of a group is the first",
        RULES,
        "min(i, more) - 1 for i in range(1, keep + 1)",
        "min(i, more) for i in range(keep)",
        f"{OF_RULES} -k supervises",
    ),
    Mutant(
        "the middle is kept as well",
        RULES,
        "[*range(keep - top), *range(count - top, count)]",
        "[*range(keep - top), *range(keep - top, keep)]",
        f"{OF_RULES} -k their_tables",
    ),
    Mutant(
        "the number of encoder layers is not heard",
        f"{STARTS}/layer_copy.py",
        "pick_layers(self.encoder_layers, self.num_encoder_layers, count)",
        "pick_layers(self.encoder_layers, None, count)",
        f"{OF_RULES} -k a_rule_and_a_number",
    ),
)

SLICES = (
    Mutant(
        "heads that share keys and values are torn apart",
        WEIGHTS,
        "heads = _blocks(kept, self.old.shared)",
        "heads = _even(self.new.heads, self.old.heads)",
        f"{OF_COPIES} -k stay_together",
    ),
    Mutant(
        "the first heads are kept",
        WEIGHTS,
        "return torch.arange(keep) * count // keep",
        "return torch.arange(keep)",
        f"{OF_COPIES} -k slices_of_a_bert",
    ),
    Mutant(
        "queries, keys and values are cut as one",
        WEIGHTS,
        "parts = value.chunk(len(axis), dim)",
        "parts = [value]",
        f"{OF_COPIES} -k cut_each",
    ),
    Mutant(
        "the strongest neurons stand in the order of their strength",
        WEIGHTS,
        "topk(self.new.feed_forward).indices.sort().values",
        "topk(self.new.feed_forward).indices",
        f"{OF_COPIES} -k write_most",
    ),
    Mutant(
        "the neurons that are kept are those of another axis",
        WEIGHTS,
        "dim=1 - neurons",
        "dim=neurons",
        f"{OF_COPIES} -k write_most",
    ),
    Mutant(
        "a head becomes narrower",
        f"{NARROWING}/shape.py",
        'changes["head_dim"] = new.head',
        "pass",
        f"{OF_COPIES} -k restored",
    ),
)

ROTATIONS = (
    Mutant(
        "gains of norms are dropped and not moved",
        WEIGHTS,
        '                cuts["S"] = _with_norm(cuts["S"], weights, norm)\n',
        "                pass\n",
        f"{OF_COPIES} -k computes_what",
    ),
    Mutant(
        "rows of a narrower norm are shorter",
        WEIGHTS,
        "(self.old.hidden / self.new.hidden) ** 0.5",
        "1.0 ** 0.5",
        f"{OF_COPIES} -k few_directions",
    ),
    Mutant(
        "readers of a LayerNorm do not hear its bias",
        WEIGHTS,
        "return read if bias is None else",
        "return read if True else",
        f"{OF_COPIES} -k gpt2",
    ),
    Mutant(
        "a LayerNorm takes a mean off the rotated stream",
        WEIGHTS,
        "    if not centred:\n",
        "    if True:\n",
        f"{OF_COPIES} -k gpt2",
    ),
    Mutant(
        "the last norm's gain is lost",
        WEIGHTS,
        "if module == self.anatomy.lm_head_path:",
        "if module == 'none':",
        f"{OF_COPIES} -k computes_what",
    ),
    Mutant(
        "a rotated head is tied to the embeddings all the same",
        f"{STARTS}/narrow_copy.py",
        "        keep_apart(student.model, apart)\n",
        "",
        f"{OF_COPIES} -k computes_what",
    ),
    Mutant(
        "a body without a head loses its last gain",
        f"{STARTS}/narrow_copy.py",
        "        if not teacher.anatomy.has_head:\n",
        "        if False:\n",
        f"{OF_COPIES} -k his_head",
    ),
)

EMBEDDINGS = (
    Mutant(
        "the least directions are kept",
        DIRECTIONS,
        ".eigenvectors.flip(1)[:, :width]",
        ".eigenvectors[:, :width]",
        f"{OF_DIRECTIONS} -k tail",
    ),
    Mutant(
        "principal components are those of rows with their mean",
        DIRECTIONS,
        'if how == "pca" else None',
        'if how == "none" else None',
        f"{OF_EMBEDDINGS} -k bert-pca",
    ),
    Mutant(
        "only the first rows are read",
        DIRECTIONS,
        "        gram_DD += rows_ND.T @ rows_ND\n",
        "        gram_DD = gram_DD if gram_DD.any() else rows_ND.T @ rows_ND\n",
        f"{OF_DIRECTIONS} -k summed",
    ),
    Mutant(
        "signs of directions are the machine's",
        DIRECTIONS,
        "vectors_Dd * vectors_Dd.gather(0, largest).sign()",
        "vectors_Dd",
        f"{OF_DIRECTIONS} -k mirrored",
    ),
    Mutant(
        "rows of other tokens are taken",
        f"{STARTS}/fresh.py",
        "    if len(own) != len(theirs):\n",
        "    if False:\n",
        f"{OF_EMBEDDINGS} -k refused",
    ),
    Mutant(
        "a table that nothing reads is filled",
        f"{STARTS}/fresh.py",
        "    if any(own is spare for spare in student.anatomy.unread(student.model)):\n",
        "    if False:\n",
        f"{OF_EMBEDDINGS} -k refused",
    ),
)
