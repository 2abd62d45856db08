"""Columns of labelled data, by what is in them."""

from __future__ import annotations

from dataclasses import dataclass

from lit_distill.knobs import Whole, check_knobs


@dataclass(frozen=True)
class LabelColumns:
    """Names of columns; a task reads those that it needs.

    Attributes:
        text: the column with the text, of .jsonl, .csv and .parquet; of multiple choice, with what
            all choices are read after; of answers in `passages`, with the text there.
        second: the column with the other text of a pair; None: there are single texts.
        label: the column with the label: a name, or a number.
        choices: of multiple choice, the columns of the choices, or the one with the list of them.
        tokens: of labels of words, the column with the list of words.
        tags: the column with the list of their labels.
        written: the column with the text as it was written; None: it is made of the words.
        token_column: of CoNLL files instead, the number of the words' column: from 1, or from the
            end.
        tag_column: and that of their labels.
        question: of answers, the column with the question (by default "question"); of multiple
            choice, one that is read after `text`.
        context: the column with the text that has the answer.
        answer: the column with the answer.
        start: the column with its first character, from 0.
        passages: files with the contexts, where they are not in every row: `context` is then the
            column with a context's name in both files.
        teacher_text: the column with what a teacher reads instead of the text: another language,
            say; None: the same.
        teacher_second: the column with what it reads instead of the other text of a pair.
    """

    text: str = "text"
    second: str | None = None
    label: str = "label"
    choices: list[str] | str | None = None
    tokens: str = "tokens"
    tags: str = "tags"
    written: str | None = None
    token_column: Whole = 1
    tag_column: Whole = -1
    question: str | None = None
    context: str = "context"
    answer: str = "answer"
    start: str | None = "answer_start"
    passages: str | None = None
    teacher_text: str | None = None
    teacher_second: str | None = None

    def __post_init__(self) -> None:
        check_knobs(type(self), vars(self))
