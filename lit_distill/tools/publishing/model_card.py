"""The model card of a folder, with what an evaluation found about the model."""

from __future__ import annotations

import re
from pathlib import Path

from lit_distill.errors import UserError
from lit_distill.files.atomic_files import replacing
from lit_distill.tools.publishing.evaluation import found_about
from lit_distill.tools.publishing.evaluation_header import is_ours, results_of
from lit_distill.tools.publishing.evaluation_text import section
from lit_distill.tools.publishing.front_matter import header_of, with_results
from lit_distill.tools.publishing.sent_files import CARD

BEGIN = "<!-- lit_distill evaluation: `model-card` replaces what is from here to its end -->"
END = "<!-- end of the lit_distill evaluation -->"
_OWN = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)


def model_card(folder: str, results: str, model: str | None = None) -> None:
    """Writes what an evaluation found about a model into its card: retention, cost, limits.

    What an earlier evaluation left there is replaced; everything else in the card stays as it is.

    Args:
        folder: of the model, as `fit` and `export` write it, with its README.md.
        results: folder of an evaluation, or its results.json.
        model: the model's name in the evaluation; by default that whose folder it is.

    Raises:
        UserError: there is no card, nothing is known of the model, the evaluation is about other
            weights than those in the folder, or the card cannot be changed.
    """
    place = Path(folder)
    path = place / CARD
    if not path.is_file():
        raise UserError(f"{place} has no {CARD}: give a folder that `fit` or `export` has written.")
    found = found_about(place, Path(results), model)
    if not [*found.tasks()]:
        raise UserError(f"{results} has no task of which {found.model} was asked.")
    try:
        card = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.") from error
    header = header_of(card, str(path))
    measured = results_of(found, str(header.get("pipeline_tag", "other")))
    changed = with_results(card, place.resolve().name, measured, is_ours, str(path))
    changed = with_section(changed, section(found), str(path))
    with replacing(path) as beside:
        beside.write_bytes(changed.encode("utf-8"))
    print(f"{path}: {found.model} beside {found.reference}, as {results} says")


def with_section(card: str, text: str, called: str) -> str:
    """A card with the section, in the place of an earlier one or at its end.

    Args:
        card: its text.
        text: the section.
        called: the card's file, for the message.

    Raises:
        UserError: the marks of an earlier section are not whole.
    """
    own = f"{BEGIN}\n\n{text}\n\n{END}"
    earlier = _OWN.findall(card)
    if len(earlier) > 1 or not card.count(BEGIN) == card.count(END) == len(earlier):
        raise UserError(
            f"The marks of the evaluation in {called} are not a pair: put these lines around what "
            f"is to be replaced, or remove them: {BEGIN} and {END}"
        )
    if earlier:
        return card.replace(earlier[0], own)
    return f"{card.rstrip()}\n\n{own}\n"
