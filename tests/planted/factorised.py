"""Bugs in embeddings of two factors, and in layers that several depths share."""

from __future__ import annotations

from planted.mutant import Mutant

MODELS = "lit_distill/models"
FACTORS = f"{MODELS}/students/narrowing/factorising.py"
START = f"{MODELS}/students/starts/factorised_copy.py"
NAMES = f"{MODELS}/students/starts/factorised_names.py"
CAPTURES = f"{MODELS}/body/captures.py"
CARVING = f"{MODELS}/students/starts/carving.py"
TESTS = "tests/lit_distill/models"
OF_COPIES = f"{TESTS}/students/starts/test_factorised_copy.py"
OF_FACTORS = f"{TESTS}/students/narrowing/test_factorising.py"
OF_SHARED = f"{TESTS}/body/test_shared_layers.py"

FACTORISED = (
    Mutant(
        "singular values are forgotten: the table is U and not U S",
        FACTORS,
        "    return torch.cat([part.to(table_VD.dtype) for part in parts])\n",
        "    cut = torch.cat([part.to(table_VD.dtype) for part in parts])\n"
        "    return cut / cut.norm(dim=0)\n",
        f"{OF_FACTORS} -k singular_values",
    ),
    Mutant(
        "the projection is transposed",
        FACTORS,
        "project_HD * gain_D @ map_De * (width",
        "(project_HD * gain_D @ map_De).T.reshape(-1, narrow) * (width",
        f"{OF_FACTORS} -k few_directions",
    ),
    Mutant(
        "the projection stays random",
        FACTORS,
        "project_HD * gain_D @ map_De * (width",
        "torch.randn(len(project_HD), narrow).double() * (width",
        f"{OF_FACTORS} -k slow_sums",
    ),
    Mutant(
        "the norm's gain is dropped",
        FACTORS,
        "project_HD * gain_D @ map_De * (width",
        "project_HD @ map_De * (width",
        f"{OF_FACTORS} -k few_directions",
    ),
    Mutant(
        "rows of a narrower norm are shorter",
        FACTORS,
        " * (width / narrow) ** 0.5",
        "",
        f"{OF_FACTORS} -k few_directions",
    ),
    Mutant(
        "the norm's bias is dropped",
        FACTORS,
        "project_HD @ bias_D + shift_H",
        "0 * (project_HD @ bias_D) + shift_H",
        f"{OF_FACTORS} -k few_directions",
    ),
    Mutant(
        "the bias of a projection that was there is dropped",
        FACTORS,
        '        shift_H = weights["embeddings_project.bias"].double().cpu()\n',
        "",
        f"{OF_FACTORS} -k few_directions",
    ),
    Mutant(
        "one direction fewer than there is room for",
        FACTORS,
        "    return stream_directions(table_VD, width, centred=True)\n",
        "    found = stream_directions(table_VD, width - 1, centred=True)\n"
        "    return torch.cat([found, torch.zeros(len(found), 1, dtype=found.dtype)], 1)\n",
        f"{OF_FACTORS} -k few_directions",
    ),
    Mutant(
        "directions have a mean, which the narrow norm takes off",
        FACTORS,
        "width, centred=True)",
        "width, centred=False)",
        f"{OF_FACTORS} -k few_directions",
    ),
    Mutant(
        "positions weigh as much as words in the sums",
        FACTORS,
        "each = (len(table_VD) / len(rest_TD)) ** 0.5",
        "each = 1.0",
        f"{OF_FACTORS} -k slow_sums",
    ),
    Mutant(
        "rows by which a table was padded have a say",
        FACTORS,
        "weights[WORDS][:tokens].detach()",
        "weights[WORDS].detach()",
        f"{OF_FACTORS} -k no_token",
    ),
    Mutant(
        "the head's gain is dropped",
        FACTORS,
        '"head.norm.weight": lengths_e',
        '"head.norm.weight": torch.ones_like(lengths_e)',
        f"{OF_FACTORS} -k head_is",
    ),
    Mutant(
        "the head's bias of tokens is dropped",
        FACTORS,
        '"head.decoder.bias": weights["head.decoder.bias"]',
        '"head.decoder.bias": torch.zeros_like(weights["head.decoder.bias"])',
        f"{OF_FACTORS} -k head_is",
    ),
    Mutant(
        "a tied decoder is left with a table of its own",
        START,
        "keep_apart(student.model, differing_names(student.model, named))",
        'keep_apart(student.model, [f"{anatomy.lm_head_path}.weight"] if anatomy.has_head else [])',
        f"{OF_FACTORS} -k head_is",
    ),
    Mutant(
        "a head with a table of its own is tied",
        START,
        "        keep_apart(student.model, differing_names(student.model, named))\n",
        "",
        f"{OF_COPIES} -k heads_own",
    ),
    Mutant(
        "RoBERTa's positions begin two rows too early",
        START,
        "weights[POSITIONS][offset:]",
        "weights[POSITIONS][: len(weights[POSITIONS]) - offset]",
        f"{OF_COPIES} -k teachers_width",
    ),
    Mutant(
        "a pooler with a GELU gets the weights of one with a tanh",
        START,
        "if own.predicts in _POOLED and own.has_head and not same and",
        "if False and not same and",
        f"{OF_COPIES} -k activations",
    ),
    Mutant(
        "queries and keys change places in an ALBERT",
        NAMES,
        '(r"\\.attention\\.self\\.", ".attention."),',
        '(r"\\.attention\\.self\\.query", ".attention.key_"), (r"\\.attention\\.self\\.key", '
        '".attention.query"), (r"key_", "key"), (r"\\.attention\\.self\\.", ".attention."),',
        f"{OF_COPIES} -k teachers_width",
    ),
)

SHARED = (
    Mutant(
        "a shared layer's state is that of its last run",
        CAPTURES,
        "        if turn is not None and turn != next(runs):\n            return\n",
        "",
        f"{OF_SHARED} -k transformers_own",
    ),
    Mutant(
        "what is inside of a shared layer is that of its last run",
        CAPTURES,
        "            if inner.turn is None or inner.turn == run:\n",
        "            if True or run:\n",
        f"{OF_SHARED} -k transformers_own",
    ),
    Mutant(
        "a shared layer that is needed above is cut short",
        CAPTURES,
        "    whole = whole or anatomy.layer_order is not None",
        "    whole = whole or False",
        f"{OF_SHARED} -k transformers_own",
    ),
    Mutant(
        "groups are numbered as layers",
        CARVING,
        "        picked = _kept_groups(teacher, picked)\n",
        "        pass\n",
        f"{OF_SHARED} -k keep_their_groups",
    ),
    Mutant(
        "a depth gets another group than the teacher's",
        CARVING,
        "    if wanted != [kept[number] for number in numbers]:\n",
        "    if False and numbers:\n",
        f"{OF_SHARED} -k refused",
    ),
)
