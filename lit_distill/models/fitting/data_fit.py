"""Whether a model can read what the data module feeds, and learn what it asks."""

from __future__ import annotations

from lightning.pytorch.utilities import rank_zero_warn
from transformers import PreTrainedTokenizerFast

from lit_distill.batch import Reading
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.models.architectures.anatomy import Predicted
from lit_distill.models.body.language_model import LanguageModel


def check_length(max_length: int, model: LanguageModel, name: str = "model") -> None:
    """Checks that the data's longest windows fit the position table.

    Raises:
        UserError: they do not.
    """
    if max_length > model.max_length:
        raise UserError(
            f"The data's windows hold up to {max_length} tokens and the {name}'s position table "
            f"holds {model.max_length}: lower data.init_args.max_length to {model.max_length}."
        )


def check_objective(data: DataFacts, model: LanguageModel, name: str) -> None:
    """Checks that a model can learn what the data asks of it.

    Args:
        data: whose objective it is.
        model: student or teacher.
        name: "student" or "teacher", for the message.

    Raises:
        UserError: labels, numbers, choices or answers for a model that predicts something else;
            masks for a model that only looks back, or next tokens for one that sees them; single
            texts for a model of sources and targets, or the other way round.
    """
    _check_head(data, model, name)
    masked, pairs = data.masked, data.pairs
    kind = type(model.model).__name__
    if masked is not None and model.reads_pairs and not pairs:
        raise UserError(
            f"The {name} is a {kind}, which reads a source and a target, and the data has single "
            "texts: use a PromptCorpus with data.init_args.layout=pairs, or an encoder or decoder."
        )
    if pairs and not model.reads_pairs:
        raise UserError(
            f"The {name} is a {kind}, which reads one text, and the data has sources and targets: "
            "set data.init_args.layout to decoder."
        )
    if pairs:
        return
    if masked and model.anatomy.causal:
        raise UserError(
            f"The {name} is a {kind}, which predicts the next token, and the data's objective is "
            f"{type(data.objective).__name__}: set data.init_args.objective to NextToken."
        )
    if masked is False and not model.anatomy.causal:
        raise UserError(
            f"The {name} is a {kind}, which sees the next token, and the data's objective is "
            f"{type(data.objective).__name__}: set data.init_args.objective to MaskedTokens."
        )


def _check_head(data: DataFacts, model: LanguageModel, name: str) -> None:
    """Raises UserError where data asks for another head than the model's."""
    kind, predicts = type(model.model).__name__, model.anatomy.predicts
    wanted = None if data.task_head is None else data.task_head.predicts
    if wanted is None and data.reading == Reading.LABELS:
        wanted = Predicted.TEXT_LABELS
    if wanted is not None and predicts != wanted:
        raise UserError(
            f"The {name} is a {kind}, which predicts {predicts.value}, and the data has "
            f"{_IN_DATA.get(wanted, wanted.value)}: give a {_CLASSES[wanted]}, or name the head to "
            "be trained (PretrainedStudent.head, or labels)."
        )
    if data.reading in (Reading.NEXT, Reading.MASKED, Reading.RESPONSES) and model.anatomy.has_task:
        raise UserError(
            f"The {name} is a {kind}, which predicts {predicts.value}, and the data's objective is "
            f"{data.reading.value}: use a LabelledCorpus, or a language model."
        )


_CLASSES = {
    Predicted.TEXT_LABELS: "...ForSequenceClassification",
    Predicted.TOKEN_LABELS: "...ForTokenClassification",
    Predicted.TEXT_VALUE: "...ForSequenceClassification with one label",
    Predicted.CHOICES: "...ForMultipleChoice",
    Predicted.SPANS: "...ForQuestionAnswering",
}
_IN_DATA = {Predicted.CHOICES: "several texts to choose from", Predicted.SPANS: "answers in texts"}


def check_start(start: int | None, model: LanguageModel, name: str) -> None:
    """Checks that targets begin as a model was trained to begin them.

    Raises:
        UserError: they do not.
    """
    own = getattr(model.config, "decoder_start_token_id", None)  # of encoder-decoders only
    if start is not None and own is not None and start != own:
        raise UserError(
            f"The data's targets begin with token {start} and the {name}'s with {own}: set "
            "data.init_args.decoder_start to that token."
        )


def compare_templates(
    data: DataFacts, student: PreTrainedTokenizerFast, teacher: PreTrainedTokenizerFast
) -> None:
    """Warns where prompts are put to the teacher in another chat template than its own.

    Args:
        data: only one that renders chats is looked at.
        student: the tokenizer that it renders with.
        teacher: the teacher's.
    """
    if data.renders_chats and student.chat_template != teacher.chat_template:
        rank_zero_warn(
            "The chat templates of student and teacher differ, and prompts are rendered with the "
            "student's: the teacher is asked in a way that it does not know. `preview --teacher` "
            "shows the difference; --tokenizer with the teacher's tokenizer ends it."
        )
