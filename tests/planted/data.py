"""Bugs in the data modules."""

from __future__ import annotations

from planted.mutant import Mutant

DATA = (
    Mutant(
        "pads count as tokens",
        "data_modules/feeding/collation.py",
        '"tokens": len(tokens),',
        '"tokens": count * width,',
        "tests/data_modules/feeding/test_collation.py",
    ),
    Mutant(
        "the same masks in every pass",
        "data_modules/objectives/masking.py",
        "Purpose.MASK, texts.passes, texts.windows",
        "Purpose.MASK, texts.passes * 0, texts.windows",
        "tests/data_modules/objectives/test_masking.py",
    ),
    Mutant(
        "special tokens are masked",
        "data_modules/objectives/objectives.py",
        "        maskable[tokenizer.all_special_ids] = False\n",
        "",
        "tests/data_modules/objectives/test_objectives.py",
    ),
    Mutant(
        "the revision of a dataset is dropped",
        "data_modules/reading/hub_reader.py",
        "revision=self.revision,\n                    streaming",
        "streaming",
        "tests/data_modules/reading/test_hub.py -k pinned",
    ),
    Mutant(
        "words without a tag count in the code-mixing index",
        "data_modules/text/code_mixing_statistics.py",
        "    total = sum(numbers)\n    return 100.0 * (1.0 - max(numbers) / total)",
        "    total = sum(numbers) + 1\n    return 100.0 * (1.0 - max(numbers) / total)",
        "tests/data_modules/text/test_code_mixing_statistics.py",
    ),
    Mutant(
        "a full stop or a name hides a switch",
        "data_modules/text/code_mixing_statistics.py",
        "        if tag is None:\n            continue\n        if before is not None",
        "        if tag is None:\n            before = None\n            continue\n"
        "        if before is not None",
        "tests/data_modules/text/test_code_mixing_statistics.py",
    ),
    Mutant(
        "both views of a pair are its source",
        "data_modules/parallel.py",
        "self.tgt(own[1], passes)",
        "self.tgt(own[0], passes)",
        "tests/data_modules/test_parallel.py",
    ),
    Mutant(
        "pieces of a word take the language of the next one",
        "data_modules/storing/token_tags.py",
        'side="right") - 1',
        'side="right")',
        "tests/data_modules/test_code_mixed.py",
    ),
    Mutant(
        "every pass draws new masks although a cache holds a few",
        "data_modules/feeding/collation.py",
        "passes = passes % self.variants",
        "pass",
        "tests/data_modules/test_corpus.py",
    ),
    Mutant(
        "the target is the token itself: no shift",
        "data_modules/objectives/objectives.py",
        "texts.ids[rows + 1]",
        "texts.ids[rows]",
        "tests/data_modules/objectives/test_objectives.py",
    ),
    Mutant(
        "a text's last token predicts the first one of the next text",
        "data_modules/objectives/objectives.py",
        "rows = np.flatnonzero(texts.column[1:])",
        "rows = np.arange(len(texts.ids) - 1)",
        "tests/data_modules/objectives/test_objectives.py",
    ),
    Mutant(
        "the number of targets is rounded to a multiple of eight",
        "data_modules/objectives/masking.py",
        "wanted = np.ceil(self.probability * sizes - 1e-9).astype(np.int64)",
        "wanted = np.ceil(self.probability * sizes - 1e-9).astype(np.int64) // 8 * 8",
        "tests/data_modules/objectives/test_masking.py",
    ),
    Mutant(
        "what is longer than a window is lost",
        "data_modules/storing/tokenising.py",
        "pieces = [encoding.ids for encoding in encodings]",
        "pieces = [encoding.ids[: self._room] for encoding in encodings]",
        "tests/data_modules/storing/test_tokenising.py",
    ),
)
