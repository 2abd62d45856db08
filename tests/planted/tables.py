"""Bugs in which tables a model shares, and which of its rows are tokens."""

from __future__ import annotations

from planted.mutant import Mutant

TIES = "tests/lit_distill/models/body/test_ties.py"

TABLES = (
    Mutant(
        "two tables are carved into one",
        "lit_distill/models/students/starts/layer_copy.py",
        "        keep_apart(student.model, differing_names(student.model, weights))\n",
        "",
        f"{TIES} -k llama-carved",
    ),
    Mutant(
        "a checkpoint restores two tables as one",
        "lit_distill/models/students/restoring.py",
        "    keep_apart(student.model, sorted(apart))\n",
        "",
        f"{TIES} -k llama-pretrained",
    ),
    Mutant(
        "an exported config says tied of two tables",
        "callbacks/saving/student_folder.py",
        "        declare_separate(student.model)\n",
        "",
        f"{TIES} -k llama-pretrained",
    ),
    Mutant(
        "an exported config says separate of tables that are not in the file",
        "lit_distill/models/body/ties.py",
        "keep_apart(model, [name for name in _tied(model) if name not in apart])",
        "pass",
        f"{TIES} -k bart-pretrained",
    ),
    Mutant(
        "checkpoints of the first release are restored with one table",
        "lit_distill/models/students/restoring.py",
        "        apart.update(differing_names(student.model, named))\n",
        "        del named\n",
        f"{TIES} -k first_release",
    ),
    Mutant(
        "a retokenised model's head is tied on the way",
        "lit_distill/models/vocabularies/mixing.py",
        "    keep_apart(model, apart)\n",
        "",
        "tests/lit_distill/models/students/starts/test_retokenising.py -k head_of_its_own",
    ),
    Mutant(
        "a merged head is resumed as two tables",
        "lit_distill/training/checkpoints.py",
        "        _check_tables(name, state, own, student)\n",
        "",
        "tests/lit_distill/training/test_checkpoints.py -k merged_head",
    ),
    Mutant(
        "rows without a token are written",
        "lit_distill/models/generation/generation.py",
        "text.model.logits(text.states())[:, : text.model.tokens]",
        "text.model.logits(text.states())",
        "tests/lit_distill/models/generation/test_generation.py -k without_a_token",
    ),
    Mutant(
        "nobody says which rows are tokens where all tables are padded alike",
        "lit_distill/models/fitting/vocabulary.py",
        "        model.tokens = tokens\n",
        "        model.tokens = None if len(rows) == 1 else tokens\n",
        "tests/lit_distill/models/fitting/test_vocabulary.py -k padded_differently",
    ),
    Mutant(
        "half a Gemma looks at its window only",
        "lit_distill/models/students/starts/carving.py",
        "return respect_kinds(choice, picked, kinds) if kinds else picked",
        "return picked",
        "tests/lit_distill/models/students/starts/test_carving.py -k half_a_gemma",
    ),
    Mutant(
        "a short fresh Gemma looks at its window only",
        "lit_distill/models/students/starts/config_changes.py",
        "_kinds_of(count, kinds) if",
        "kinds[:count] if",
        "tests/lit_distill/models/students/starts/test_carving.py -k half_a_gemma",
    ),
    Mutant(
        "pieces keep the numbers of their SentencePiece model",
        "lit_distill/models/loading/sentencepiece_models.py",
        "    order = sorted(tokenizer.encoder, key=tokenizer.encoder.__getitem__)\n",
        "    order = sorted(tokenizer.encoder)\n"
        "    tokenizer.encoder = {piece: i for i, piece in enumerate(order)}\n",
        "tests/lit_distill/models/loading/test_sentencepiece_models.py -k marians",
    ),
    Mutant(
        "two SentencePiece models are taken for one",
        "lit_distill/models/loading/sentencepiece_models.py",
        "if source != target or tokenizer.separate_vocabs:",
        "if tokenizer.separate_vocabs:",
        "tests/lit_distill/models/loading/test_sentencepiece_models.py -k two_models",
    ),
    Mutant(
        "the ends of a model of more media are lost",
        "lit_distill/models/loading/pretrained.py",
        '{**values["text_config"], **shared, "model_type"',
        '{**values["text_config"], "model_type"',
        "tests/lit_distill/models/loading/test_pretrained.py -k sees",
    ),
    Mutant(
        "a bias that nobody reads is trained",
        "lit_distill/models/architectures/encoders.py",
        '        spares={"cls.predictions.bias": "cls.predictions.decoder.bias"},\n',
        "",
        "tests/lit_distill/models/architectures/test_anatomy.py -k nothing_reads",
    ),
    Mutant(
        "captured projections are no outputs of their layer",
        "lit_distill/models/body/captures.py",
        "layer.register_forward_hook(take_off).remove",
        "layer.register_forward_hook(take_off, prepend=True).remove",
        "tests/lit_distill/models/body/test_sharding.py -k llama",
    ),
)
