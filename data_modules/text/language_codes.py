"""Language codes: control tokens that tell a translator what it reads, and what it is to write.

NLLB, M2M-100 and mBART-50 read `code text </s>`, mBART (of 25 languages) `text </s> code`; what is
written begins with the code of its language. A tokenizer is set to one language, and its frame says
where the code stands: here every language gets its own in that place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from data_modules.text.framing import Frame
from lit_distill.errors import UserError

ARROW = ">"
KNOB = "data.init_args.language_codes"


class LanguageCodes:
    """The codes of the data's languages in a tokenizer.

    Args:
        codes: the tokenizer's token for each of the data's names: {"en": "eng_Latn"}.
        tokenizer: whose vocabulary has them.

    Raises:
        UserError: it does not; or it puts several tokens around a text that may be its code.
    """

    def __init__(self, codes: Mapping[str, str], tokenizer: Any) -> None:
        vocabulary = tokenizer.get_vocab()
        if absent := [f"{code} ({name})" for name, code in codes.items() if code not in vocabulary]:
            roles = _roles(tokenizer)
            there = [str(token) for token in tokenizer.all_special_tokens if token not in roles]
            raise UserError(
                f"{KNOB} has {', '.join(absent)}, which the tokenizer does not have: name its own "
                f"tokens. Its special tokens beside the usual: {', '.join(there[:8]) or 'none'}."
            )
        own = own_codes(tokenizer)
        if len(own) > 1:
            tokens = ", ".join(tokenizer.convert_ids_to_tokens(own))
            raise UserError(
                f"The tokenizer puts {tokens} around a text, and {KNOB} would take the place of "
                "one of them, nobody knows which: leave it out, or use another tokenizer."
            )
        self.ids = {name: int(vocabulary[code]) for name, code in codes.items()}
        self._own = own[0] if own else None

    @property
    def stamp(self) -> str:
        """What decides on the tokens."""
        return f"{sorted(self.ids.items())} for {self._own}"

    def of(self, language: str) -> int:
        """The id of a language's code.

        Raises:
            UserError: it has none.
        """
        if language not in self.ids:
            raise UserError(
                f"{KNOB} has no code for {language!r}: add one, the tokenizer's own token for that "
                f"language. It has those of {', '.join(self.ids)}."
            )
        return self.ids[language]

    def of_pair(self, name: str) -> tuple[int, int]:
        """The ids of the codes of a source and a target, by the name of their prompts.

        Args:
            name: "en>hi".

        Raises:
            UserError: it is no such name, or a language has no code.
        """
        source, arrow, target = name.partition(ARROW)
        if not (source and arrow and target):
            raise UserError(
                f"{KNOB} needs prompts that are named by two languages, such as en{ARROW}hi, and "
                f"there are some of {name!r}: set `language` of their source so (or what its "
                "language_column holds)."
            )
        return self.of(source), self.of(target)

    def framed(self, frame: Frame, code: int) -> Frame:
        """A frame with a code in the place of the tokenizer's own, or else right before the text.

        Args:
            frame: special tokens around a text.
            code: id of a code.
        """
        if self._own is None:
            return Frame((*frame.before, code), frame.after, frame.end)
        parts = (frame.before, frame.after, frame.end)
        before, after, end = (
            tuple(code if token == self._own else token for token in part) for part in parts
        )
        return Frame(before, after, end)


def codes_of(codes: Mapping[str, str] | None, tokenizer: Any) -> LanguageCodes | None:
    """`LanguageCodes` where codes are given.

    Raises:
        UserError: as of `LanguageCodes`.
    """
    return LanguageCodes(codes, tokenizer) if codes else None


def own_codes(tokenizer: Any) -> list[int]:
    """Ids that a tokenizer puts around texts and that have none of the usual roles."""
    frame = Frame.around(tokenizer)
    usual = {*tokenizer.convert_tokens_to_ids(_roles(tokenizer))}
    return [token for token in (*frame.before, *frame.after) if token not in usual]


def _roles(tokenizer: Any) -> list[str]:
    """Special tokens with a role: BOS, EOS, padding and so on."""
    named = tokenizer.special_tokens_map.items()
    return [str(token) for role, token in named if role.endswith("_token")]


def warn_of_one_code(tokenizer: Any, languages: Sequence[str]) -> None:
    """Warns where texts of several languages will be read as if they were of one.

    Args:
        tokenizer: with which no `LanguageCodes` are given.
        languages: of the data.
    """
    own = own_codes(tokenizer)
    if own and len(languages) > 1:
        rank_zero_warn(
            f"The tokenizer puts {', '.join(tokenizer.convert_ids_to_tokens(own))} around texts, "
            f"and here also around those of {', '.join(languages[:4])}: if that is the code of a "
            f"language, set {KNOB} to the code of each ({{en: eng_Latn}})."
        )
