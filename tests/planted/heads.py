"""Bugs in classifiers: their heads, their labels and the data that they read."""

from __future__ import annotations

from planted.mutant import Mutant

ROWS = "tests/lit_distill/models/architectures/test_task_heads.py"
TABLE = "lit_distill/models/architectures/task_heads.py"
METHOD = "tests/lit_distill/methods/test_classification.py"
CORPUS = "tests/data_modules/test_labelled.py"
COLLATION = "data_modules/labelling/collation.py"

HEADS = (
    Mutant(
        "mean pooling reads the first position",
        TABLE,
        'if model.config.classifier_pooling != "mean":',
        "if True:",
        f"{ROWS} -k pools",
    ),
    Mutant(
        "the pooler of a classifier is left out",
        TABLE,
        "model.dropout(pooler(rows_ND.unsqueeze(1)))",
        "model.dropout(rows_ND)",
        f"{METHOD} -k formulas",
    ),
    Mutant(
        "a classifier is opened as the language model of its type",
        "lit_distill/models/architectures/table.py",
        "        if named_here and anatomy.has_head:",
        "        if not named and anatomy.has_head:",
        f"{ROWS} -k finds",
    ),
    Mutant(
        "the dropout of a head is drawn from the random numbers of all",
        "lit_distill/models/body/language_model.py",
        "        if not self.anatomy.has_task:\n",
        "        if self.anatomy.has_task:\n",
        f"{ROWS} -k dropout",
    ),
    Mutant(
        "labels are compared in any order",
        "lit_distill/models/fitting/labels.py",
        "len({*map(tuple, known.values())}) < 2",
        "len({*map(frozenset, known.values())}) < 2",
        f"{ROWS} -k order",
    ),
    Mutant(
        "a student of another type forgets the names of the labels",
        "lit_distill/models/students/starts/fresh.py",
        "            if teacher.anatomy.has_task:\n",
        "            if False:\n",
        f"{ROWS} -k take_the_labels",
    ),
    Mutant(
        "a classifier's card names the class of language models",
        TABLE,
        '("AutoModelForSequenceClassification", "text',
        '("AutoModelForMaskedLM", "text',
        "tests/callbacks/saving/test_student_ends.py -k SequenceClassification",
    ),
    Mutant(
        "labels by name and by number are mixed",
        COLLATION,
        "    if {*found} <= {*labels}:",
        "    if {*found} <= {*labels, *map(str, range(len(labels)))}:\n"
        "        labels = [each if each in found else str(n) for n, each in enumerate(labels)]\n"
        "    if True:",
        f"{CORPUS} -k by_name_or",
    ),
    Mutant(
        "targets are in the order of the data's labels",
        "data_modules/labelled.py",
        "answers = label_numbers(labels.names, self.labels)[answers.astype(np.int64)]",
        "answers = answers.astype(np.int64)",
        f"{CORPUS} -k as_its_tokenizer",
    ),
    Mutant(
        "padding has the type of the second text",
        "data_modules/labelling/encoding.py",
        "mask & (column >= self.firsts[:, None])",
        "~mask | (column < self.firsts[:, None])",
        f"{CORPUS} -k token_types",
    ),
    Mutant(
        "a run goes on with other labels",
        "data_modules/labelled.py",
        "        digest.update(own.answers.astype(np.int64 if self._task.named else np.float64)"
        ".tobytes())\n",
        "",
        f"{CORPUS} -k another_corpus",
    ),
    Mutant(
        "one text with two labels is trained and measured on",
        "data_modules/tasks/rows.py",
        "made.group = json.dumps([text, second, *made.choices])",
        "made.group = json.dumps([text, second, label])",
        f"{CORPUS} -k two_labels",
    ),
    Mutant(
        "a marker in a text ends it",
        "data_modules/labelling/encoding.py",
        "self._backend = engine(tokenizer)",
        "self._backend = type(engine(tokenizer)).from_str(tokenizer.backend_tokenizer.to_str())",
        f"{CORPUS} -k markers",
    ),
    Mutant(
        "the checks of a first batch take labels for tokens",
        "lit_distill/models/fitting/first_batch.py",
        '("targets", outputs)',
        '("targets", outputs and reach.vocab_size)',
        f"{METHOD} -k out_of_range",
    ),
    Mutant(
        "classifiers are measured as language models",
        "lit_distill/measures/labels.py",
        "    if method.measured_by is LanguageModelMeasure and task is not None:",
        "    if method.measured_by is None and task is not None:",
        f"{METHOD} -k measures_labels",
    ),
    Mutant(
        "one language alone has no F1",
        "lit_distill/measures/labels.py",
        ".compute().reshape(-1)",
        ".compute()",
        f"{METHOD} -k one_language",
    ),
)
