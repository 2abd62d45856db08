"""Bugs in the heads of tasks, in their batches and in what their decisions are made of."""

from __future__ import annotations

from planted.mutant import Mutant

ROWS = "tests/lit_distill/models/architectures/test_task_heads.py"
TABLE = "lit_distill/models/architectures/task_heads.py"
DECISIONS = "tests/lit_distill/models/body/test_decisions.py"
BATCHES = "lit_distill/task_batches.py"
FIRST = "tests/lit_distill/models/fitting/test_first_batch.py"
CHECKS = "lit_distill/models/fitting/first_batch.py"

TASK_HEADS = (
    Mutant(
        "a decoder's last token is padding",
        TABLE,
        "last = (columns * real).argmax(1)",
        "last = torch.full_like(columns[:1], -1).expand(len(states))",
        f"{ROWS} -k decoders_read",
    ),
    Mutant(
        "a decoder's last token may be the one that pads",
        TABLE,
        'real = real & (inputs["input_ids"] != pad)',
        "pass",
        f"{ROWS} -k decoders_read",
    ),
    Mutant(
        "padding that is token 0 is none",
        TABLE,
        "    if pad is not None:",
        "    if pad:",
        f"{ROWS} -k decoders_read",
    ),
    Mutant(
        "a decoder's classifier caps its logits as the language model does",
        TABLE,
        "        cap=uncapped,\n",
        "",
        f"{ROWS} -k Gemma2ForSequenceClassification-TEXT_LABELS",
    ),
    Mutant(
        "a RoBERTa chooses without its pooler",
        TABLE,
        'return _choices(architecture, model_type, _pooled, ("roberta.pooler.", "classifier."))',
        'return _choices(architecture, model_type, _dropped, ("classifier.",))',
        f"{ROWS} -k RobertaForMultipleChoice-CHOICES",
    ),
    Mutant(
        "one label is a classifier's",
        "lit_distill/models/architectures/table.py",
        "single = labels == 1 and",
        "single = labels == 0 and",
        f"{ROWS} -k one_output",
    ),
    Mutant(
        "a new head begins with the numbers of the old one",
        "lit_distill/models/loading/loaded_weights.py",
        "parameter._is_hf_initialized = False",
        "parameter._is_hf_initialized = True",
        f"{ROWS} -k given_up",
    ),
    Mutant(
        "a head is lost unasked",
        "lit_distill/models/loading/pretrained.py",
        "if row.has_task and not fresh_head:",
        "if row.has_task and fresh_head is None:",
        f"{ROWS} -k given_up",
    ),
    Mutant(
        "an export does not say what padding is",
        "lit_distill/models/fitting/vocabulary.py",
        "model.config.pad_token_id = end if own is None else own",
        "pass",
        f"{ROWS} -k what_padding_is",
    ),
    Mutant(
        "any method trains any head",
        "lit_distill/models/fitting/labels.py",
        "if model.anatomy.has_head and found not in predicts:",
        "if model.anatomy.has_head and not predicts:",
        f"{ROWS} -k trains_what",
    ),
    Mutant(
        "data that needs another head is not asked",
        "lit_distill/models/fitting/data_fit.py",
        "None if data.task_head is None else data.task_head.predicts",
        "None",
        f"{ROWS} -k names_the_head",
    ),
    Mutant(
        "numbers and choices are compared",
        "lit_distill/models/fitting/labels.py",
        "    if len({*kinds.values()}) > 1:",
        "    if len({*kinds.values()}) > 2:",
        f"{ROWS} -k two_kinds",
    ),
    Mutant(
        "an option that is not there is the first one",
        "lit_distill/models/body/heads.py",
        "found.masked_fill(options < 0,",
        "found.masked_fill(options < -1,",
        f"{DECISIONS} -k unequal",
    ),
    Mutant(
        "an option that is not there is infinitely unlikely",
        "lit_distill/models/body/heads.py",
        "torch.finfo(logits.dtype).min / 64",
        "-torch.inf",
        f"{DECISIONS} -k absent",
    ),
    Mutant(
        "beginnings and ends of answers change places",
        BATCHES,
        "2 * row + end) for end in (0, 1)",
        "2 * row + end) for end in (1, 0)",
        f"{DECISIONS} -k answers",
    ),
    Mutant(
        "answers are columns of the text instead of options",
        BATCHES,
        "place = possible.cumsum(1) - 1 ",
        "place = torch.ones_like(possible).cumsum(1) - 1 ",
        f"{DECISIONS} -k impossible",
    ),
    Mutant(
        "choices of an example with fewer begin in the wrong text",
        BATCHES,
        "    first = number.cumsum(0) - number\n",
        "    first = number.max() * torch.arange(len(number)) - number.max() * 0\n",
        f"{DECISIONS} -k unequal",
    ),
    Mutant(
        "an answer has one language and its end another",
        "lit_distill/batch.py",
        'rounding_mode="floor") + 1',
        'rounding_mode="floor") + 2',
        f"{DECISIONS} -k answers",
    ),
    Mutant(
        "decisions are counted as rows",
        BATCHES,
        'batch["counts"]["decisions"] = len(options)',
        "pass",
        f"{DECISIONS} -k unequal",
    ),
    Mutant(
        "a target may be an option that is not there",
        CHECKS,
        "if not bool((inside & there[:, 0]).all()):",
        "if not bool(inside.all()):",
        f"{FIRST} -k columns",
    ),
    Mutant(
        "options of another head are taken for the student's",
        CHECKS,
        "max(rows, 1) + 1 != outputs",
        "max(rows, 1) + 1 > outputs",
        f"{FIRST} -k reach",
    ),
    Mutant(
        "the teacher's rows may lie in padding",
        CHECKS,
        'or not bool(torch.isin(rows, real).all()):\n        return ["teacher_rows',
        'or rows is real:\n        return ["teacher_rows',
        f"{FIRST} -k teacher_rows",
    ),
)
