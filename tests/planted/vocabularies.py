"""Bugs in trained vocabularies and in the table that shows what they lose."""

from __future__ import annotations

from planted.mutant import Mutant

TRAINING = "lit_distill/tools/corpora/vocabularies.py"
TRAINED = "tests/lit_distill/tools/corpora/test_vocabularies.py"

VOCABULARIES = (
    Mutant(
        "joiners are clutter",
        TRAINING,
        "BertNormalizer(clean_text=False, ",
        "BertNormalizer(",
        f"{TRAINED} -k different_words",
    ),
    Mutant(
        "long words without spaces are unknown",
        TRAINING,
        '[pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(Regex(RUNS), "isolated")]',
        "[pre_tokenizers.BertPreTokenizer()]",
        f"{TRAINED} -k long_runs",
    ),
    Mutant(
        "letters that the normaliser drops are not counted as lost",
        "data_modules/text/lost_letters.py",
        "kept = _letters(_normalised(text, normalizer))",
        "kept = _letters(text)",
        "tests/lit_distill/tools/corpora/test_cutting_table.py -k lost",
    ),
    Mutant(
        "a decoder's prompts end",
        "lit_distill/tools/corpora/train_tokenizer.py",
        'ended = kind != "byte-bpe" if add_eos is None else add_eos',
        "ended = add_eos is not False",
        "tests/lit_distill/tools/corpora/test_train_tokenizer.py -k goes_on",
    ),
)
