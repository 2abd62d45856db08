"""Bugs in retrieval sets: what lists name, in which language, and whose scores are whose."""

from __future__ import annotations

from planted.mutant import Mutant

COLLATION = "data_modules/ranking/collation.py"
GATHERING = "data_modules/ranking/gathering.py"
STORE = "data_modules/ranking/store.py"
TESTS = "tests/data_modules/ranking"
OF_LISTS = f"{TESTS}/test_lists.py"
OF_ROWS = f"{TESTS}/in_files/test_rows.py"
OF_SCORES = f"{TESTS}/test_scores.py"

RETRIEVAL_SETS = (
    Mutant(
        "a prefix stands on the wrong side",
        STORE,
        "split: _Texts(folder / split, names, writing, before.query, writing.query_length)",
        "split: _Texts(folder / split, names, writing, before.passage, writing.query_length)",
        f"{OF_LISTS} -k name_the_passages",
    ),
    Mutant(
        "a relevant passage is among the negatives",
        GATHERING,
        "false = not grade and (passage in seen or (entry.query, passage) in grades)",
        "false = False",
        f"{OF_ROWS} -k rows_with_texts",
    ),
    Mutant(
        "scores stay in their places when a passage is taken out",
        GATHERING,
        "None if entry.scores is None else tuple(compress(entry.scores, kept)),",
        "None if entry.scores is None else entry.scores[: sum(kept)],",
        f"{OF_ROWS} -k rows_with_texts",
    ),
    Mutant(
        "scores are taken whatever the order of the passages",
        "data_modules/ranking/scores.py",
        "found = known.get((source, entry.query, entry.passages))",
        "found = known.get((source, entry.query, of_queries[entry.query]))",
        f"{OF_SCORES} -k of_a_folder",
    ),
    Mutant(
        "half of the scores are enough",
        "data_modules/ranking/scores.py",
        "if len(found) != wanted:",
        "if len(found) > wanted:",
        f"{OF_SCORES} -k of_a_folder",
    ),
    Mutant(
        "a passage has one language for ever",
        COLLATION,
        "key(self.seed, Purpose.PASSAGE_LANGUAGES, entries, passes)",
        "key(self.seed, Purpose.PASSAGE_LANGUAGES, entries, passes * 0)",
        f"{OF_LISTS} -k drawn_by_seed",
    ),
    Mutant(
        "languages are drawn without the seed",
        COLLATION,
        "key(self.seed, Purpose.PASSAGE_LANGUAGES, entries, passes)",
        "key(0, Purpose.PASSAGE_LANGUAGES, entries, passes)",
        f"{OF_LISTS} -k drawn_by_seed",
    ),
    Mutant(
        "languages depend on who else is in the batch",
        COLLATION,
        "key(self.seed, Purpose.PASSAGE_LANGUAGES, entries, passes)",
        "key(self.seed, Purpose.PASSAGE_LANGUAGES, np.arange(len(entries)), passes)",
        f"{OF_LISTS} -k drawn_by_seed",
    ),
    Mutant(
        "padding is read as a passage",
        COLLATION,
        "lists = np.full(copies.shape, -1, dtype=np.int64)",
        "lists = np.full(copies.shape, len(read) - 1, dtype=np.int64)",
        f"{OF_LISTS} -k name_the_passages",
    ),
    Mutant(
        "a list is read in a language that a passage of it lacks",
        COLLATION,
        "axis=1)  # (B, L)",
        "axis=1) | True  # (B, L)",
        f"{OF_LISTS} -k one_group",
    ),
    Mutant(
        "a drawn list may lose what is relevant",
        COLLATION,
        "order[kept, first[kept]] = -1",
        "pass",
        f"{OF_LISTS} -k keep_what_is_relevant",
    ),
    Mutant(
        "a query that is measured is trained on",
        GATHERING,
        "fresh = [entry for entry in entries if groups[entry.query] not in measured]",
        "fresh = entries",
        f"{OF_ROWS} -k leaves_out_what",
    ),
    Mutant(
        "numbers of all kinds in a batch become floats",
        "data_modules/feeding/prefetching.py",
        "kinds.index(one.dtype), tuple(one.shape))",
        "0, tuple(one.shape))",
        f"{OF_ROWS} -k rows_with_texts",
    ),
)
