"""With what an encoder-decoder begins to write: a start token, the code of a language, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.text.language_codes import LanguageCodes
from lit_distill.errors import UserError

BY_CODE = "{code}"
"""A start token that is the code of the target's language, as mBART's."""


@dataclass(frozen=True)
class TargetStarts:
    """The beginnings of targets.

    Attributes:
        tokenizer: of the run.
        token: with which all begin; None: the pad token. `BY_CODE`: each with its code alone.
        codes: of the languages; None: there are none.
    """

    tokenizer: Any
    token: str | None
    codes: LanguageCodes | None

    @property
    def common_id(self) -> int | None:
        """With what all begin; None where each has a code alone.

        Raises:
            UserError: the tokenizer has no such token, or codes are asked for and not given.
        """
        if self.token == BY_CODE:
            if self.codes is None:
                raise UserError(
                    f"data.init_args.decoder_start is {BY_CODE}, and there are no codes: give "
                    "data.init_args.language_codes."
                )
            return None
        token = self.token or self.tokenizer.pad_token
        if token is None or token not in self.tokenizer.get_vocab():
            raise UserError(
                f"Targets cannot begin with {token or 'the pad token'}, which the tokenizer does "
                "not have: set data.init_args.decoder_start to the one that the model begins with."
            )
        return int(self.tokenizer.get_vocab()[token])

    def by_language(self, names: Sequence[str]) -> NDArray[np.int64] | None:
        """What targets begin with (L, K), by the names of their pairs; None: there are no codes.

        Raises:
            UserError: as of `common_id`; or a language has no code.
        """
        common = self.common_id
        if self.codes is None:
            return None
        first = [] if common is None else [common]
        rows = [[*first, self.codes.of_pair(name)[1]] for name in names]
        return np.array(rows, dtype=np.int64)
