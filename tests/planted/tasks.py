"""Bugs in what is asked about labelled texts, and in what teachers and students read of them."""

from __future__ import annotations

from planted.mutant import Mutant

WORDS = "tests/data_modules/tasks/test_words.py"
CORPUS = "tests/data_modules/test_labelled_tasks.py"
NOISE = "tests/data_modules/labelling/test_noise.py"

TASKS = (
    Mutant(
        "the mark of a space is the first piece of a word",
        "data_modules/tasks/words.py",
        "        if not token.strip(_MARKS):\n",
        "        if not token:\n",
        f"{WORDS} -k every_word",
    ),
    Mutant(
        "words have spaces in scripts that have none",
        "data_modules/tasks/words.py",
        "if text and not (_unspaced(text[-1]) or _unspaced(word[0])):",
        "if text:",
        f"{WORDS} -k have_spaces",
    ),
    Mutant(
        "answers end where they begin",
        "data_modules/tasks/word_tasks.py",
        "2 * rows + end",
        "2 * rows",
        f"{CORPUS} -k spans_of_rows",
    ),
    Mutant(
        "the end of the text is the end of an answer that is cut off",
        "data_modules/tasks/word_tasks.py",
        "if not reach or (encoding.overflowing and reach[-1][2] < end):",
        "if not reach:",
        f"{CORPUS} -k spans_of_rows",
    ),
    Mutant(
        "several choices take the place of one text in a batch",
        "data_modules/labelled.py",
        ".max(1) * own.texts",
        ".max(1)",
        f"{CORPUS} -k options",
    ),
    Mutant(
        "what no training row says is measured",
        "data_modules/labelling/checks.py",
        "            if _class(task, labels[numbers[label]]) not in trained:\n",
        "            if not label:\n",
        f"{CORPUS} -k cannot_work",
    ),
    Mutant(
        "tags that only go on with an entity are classes of their own",
        "data_modules/labelling/checks.py",
        'return _BEGINS.sub("", label, count=1) if task.by_word else label',
        "return label",
        f"{CORPUS} -k begin_where",
    ),
    Mutant(
        "a broken line of a CoNLL file is told by its sentence's first",
        "data_modules/reading/conll.py",
        'return Broken(number, f"broken columns ({there})")',
        'return Broken(sentence[0][0] + 1, f"broken columns ({there})")',
        "tests/data_modules/reading/test_conll.py -k told_by_their_line",
    ),
)
"""Of tasks."""

VIEWS = (
    Mutant(
        "a teacher's row is the one of the same number, of whatever word",
        "data_modules/labelling/collation.py",
        "            at = _places(reads.keys, teacher.keys)\n",
        "            at = np.arange(len(reads.keys))\n",
        f"{CORPUS} -k two_tokenizers",
    ),
    Mutant(
        "the same noise in every pass",
        "data_modules/labelling/noisy_reads.py",
        "Purpose.NOISE, marks, passes)",
        "Purpose.NOISE, marks, passes * 0)",
        f"{CORPUS} -k function_of_seed",
    ),
    Mutant(
        "noise tears marks off their letters",
        "data_modules/labelling/noise.py",
        "        if found and (mark or joins):\n",
        "        if found and joins:\n",
        f"{NOISE} -k torn_off",
    ),
)
"""Of views."""
