"""Bugs in what is noted of texts that were read, and in what is left out for others."""

from __future__ import annotations

from planted.mutant import Mutant

FILES = "tests/lit_distill/files/test_seen_texts.py"
STORES = "tests/data_modules/recording/test_exclusion.py"
RUNS = "tests/callbacks/saving/test_read_texts.py"
ASKED = "tests/lit_distill/tools/evaluating/cells/test_seen.py"
TASKS = "tests/data_modules/test_phrasebook_tasks.py"

SEEN = (
    Mutant(
        "words and their line are two texts",
        "lit_distill/files/seen_texts.py",
        '"".join(normalize("NFKC", text).casefold().split())',
        'normalize("NFKC", text).casefold()',
        f"{FILES} -k forms",
    ),
    Mutant(
        "of many texts the smallest hashes are kept",
        "lit_distill/files/seen_texts.py",
        "kept := kept[kept % np.uint64(one_in) == 0]",
        "kept := kept[: len(kept) // one_in]",
        f"{FILES} -k share",
    ),
    Mutant(
        "two models' shares are taken for the finer one",
        "lit_distill/files/seen_texts.py",
        "max(self.one_in, other.one_in)",
        "min(self.one_in, other.one_in)",
        f"{FILES} -k two_shares",
    ),
    Mutant(
        "excluded texts are selected by",
        "data_modules/storing/tokenising.py",
        'if given == "test":\n        return np.ones',
        'if given != "train":\n        return np.ones',
        f"{STORES} -k given",
    ),
    Mutant(
        "raw text keeps what is excluded",
        "data_modules/storing/tokenising.py",
        "        kept &= ~known\n",
        "        kept = ~known\n",
        f"{STORES} -k no_store",
    ),
    Mutant(
        "a pair is excluded by its first text alone",
        "data_modules/recording/exclusion.py",
        "hashes_of(chain.from_iterable(rows))",
        "hashes_of(chain.from_iterable([texts[0]] * len(texts) for texts in rows))",
        f"{STORES} -k second",
    ),
    Mutant(
        "stores of other exclusions are taken for these",
        "data_modules/recording/exclusion.py",
        "(str(path), file_stamp(path))",
        '(str(path), "")',
        f"{STORES} -k another",
    ),
    Mutant(
        "made text is made of excluded sentences",
        "data_modules/code_mixing/mixer.py",
        "return list(compress(rows.values(), kept))",
        "return list(rows.values())",
        f"{STORES} -k made",
    ),
    Mutant(
        "texts that a run was selected by count as new",
        "data_modules/storing/known_texts.py",
        'for split in ("train", "validation")]',
        'for split in ("train",)]',
        f"{RUNS} -k refuses",
    ),
    Mutant(
        "a student knows nothing of what its teacher has read",
        "callbacks/saving/read_texts.py",
        "        *(teacher.name for teacher in cast.teacher_specs.values()),\n",
        "",
        f"{RUNS} -k inherits",
    ),
    Mutant(
        "a resumed run forgets whom it began from",
        "callbacks/saving/read_texts.py",
        "for one in (before, module.data_facts.seen_texts, *models)",
        "for one in (module.data_facts.seen_texts, *models)",
        f"{RUNS} -k inherits",
    ),
    Mutant(
        "what `export` writes may be asked anything",
        "lit_distill/tools/export.py",
        "weights, training, dtype, exported, seen)",
        "weights, training, dtype, exported, None)",
        f"{RUNS} -k enough",
    ),
    Mutant(
        "the second text of a pair may have been read",
        "data_modules/tasks/rows.py",
        "every = (self.text, self.second, *self.choices,",
        "every = (self.text, *self.choices,",
        f"{ASKED} -k pairs",
    ),
    Mutant(
        "zero-shot runs are selected by the languages that they are asked in",
        "data_modules/phrasebook_tasks.py",
        'if split != "test" and language not in trained:',
        'if split == "train" and language not in trained:',
        f"{TASKS} -k only_tested",
    ),
    Mutant(
        "every word of a name begins one",
        "data_modules/phrasebook_tasks.py",
        "'I' if entity == before else 'B'",
        "'B' if entity else 'I'",
        f"{TASKS} -k iob2",
    ),
)
