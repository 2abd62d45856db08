"""From a prompt and its response to token ids, once: what was one text is never tokenised again.

A model continues token ids, not text. So the ids of a prompt are the same whether it is to be
continued or stands before its response. Those of the response are what the tokenizer gives for both
as one text, from the border on: alone, it would begin with a space in many tokenizers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding

from data_modules.prompting.form import PromptText
from data_modules.text.framing import Frame
from data_modules.text.language_codes import LanguageCodes
from data_modules.text.markers import engine, markers_of
from lit_distill.errors import UserError

ANCHORS = ("\n", ".", ")", "0", "x")
"""Texts behind which a response is read where a token reaches over the end of its own prompt."""


@dataclass(frozen=True)
class Rendered:
    """One row as token ids.

    Attributes:
        prompt: what a model continues.
        response: what is to follow, the ending token included; None: nothing is known.
        problem: why the row cannot be used; empty where it can.
        inside: whether the response begins inside of a token of the whole text, so that both were
            cut apart.
    """

    prompt: list[int]
    response: list[int] | None
    problem: str = ""
    inside: bool = False


class Rendering(ABC):
    """How prompt and response are put to a model, as text."""

    chat = False

    @abstractmethod
    def texts(self, tokenizer: Any, row: PromptText) -> tuple[str, str | None]:
        """The text of the prompt, and of the response behind it if there is one.

        Raises:
            UserError: the tokenizer cannot render them so.
        """


@dataclass(frozen=True)
class PlainText(Rendering):
    """The prompt and the response as they are; the tokenizer's beginning token comes first.

    Words that a response begins with need their space: "{response}" behind a prompt that ends with
    a line break, " {response}" behind one that ends with a colon.
    """

    def texts(self, tokenizer: Any, row: PromptText) -> tuple[str, str | None]:
        """See `Rendering.texts`."""
        del tokenizer
        return row.prompt, row.response


@dataclass(frozen=True)
class ChatTemplate(Rendering):
    """The tokenizer's own chat template: the prompt as the user's turn, then the assistant's.

    Args:
        system: text of a system turn before; None: what the template does by itself.
        options: further variables of the template, such as {enable_thinking: false}.
    """

    system: str | None = None
    options: dict[str, Any] | None = None

    chat = True

    def texts(self, tokenizer: Any, row: PromptText) -> tuple[str, str | None]:
        """See `Rendering.texts`; the prompt ends where the assistant's turn begins."""
        if tokenizer.chat_template is None:
            raise UserError(
                "The tokenizer has no chat template: use the rendering PlainText with a template "
                "of your own in `prompt`, or the tokenizer of an instruction-tuned model."
            )
        turns = [] if self.system is None else [{"role": "system", "content": self.system}]
        turns.append({"role": "user", "content": row.prompt})
        options = {**(self.options or {}), "tokenize": False}
        head = tokenizer.apply_chat_template(turns, add_generation_prompt=True, **options)
        if row.response is None:
            return head, None
        turns.append({"role": "assistant", "content": row.response})
        whole = tokenizer.apply_chat_template(turns, **options)
        if not whole.startswith(head):
            at = first_difference(head, whole)
            raise UserError(
                "The tokenizer's chat template does not render a prompt as the beginning of prompt "
                f"and response: after {head[:at][-30:]!r} it has {head[at : at + 30]!r} alone and "
                f"{whole[at : at + 30]!r} with the response. A student would be trained on another "
                "prompt than it continues: change the template or its `options` (for instance "
                "enable_thinking), or use the rendering PlainText."
            )
        return head, whole[len(head) :]


class Renderer:
    """A rendering with a tokenizer.

    Args:
        tokenizer: a fast one.
        rendering: how rows are put.
        stop_tokens: further tokens that end a text, beside the tokenizer's EOS.
        pairs: prompts are sources of an encoder-decoder, with the tokenizer's ending token.
        codes: of the languages of sources, which then stand in the tokenizer's frame.

    Attributes:
        eos_ids: ids that end a text, the tokenizer's own first.
        markers: of the tokenizer's control tokens.
        left_out: ids that the tokenizer itself would put behind a prompt, and that a model that
            goes on from it must not read.

    Raises:
        UserError: the tokenizer has no EOS token, or not one of the others.
    """

    def __init__(
        self,
        tokenizer: Any,
        rendering: Rendering,
        stop_tokens: Sequence[str] = (),
        pairs: bool = False,
        codes: LanguageCodes | None = None,
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise UserError(
                "The tokenizer has no EOS token, so no text could end: use a tokenizer that has "
                'one, or set it in its tokenizer_config.json ("eos_token").'
            )
        if rendering.chat and pairs:
            raise UserError("Encoder-decoders have no chat templates: use the rendering PlainText.")
        vocabulary = tokenizer.get_vocab()
        unknown = [token for token in stop_tokens if token not in vocabulary]
        if unknown:
            raise UserError(f"stop_tokens names {unknown}, which the tokenizer does not have.")
        stops = [vocabulary[token] for token in stop_tokens]
        self.eos_ids = list(dict.fromkeys([int(tokenizer.eos_token_id), *stops]))
        self._tokenizer, self._rendering, self._pairs = tokenizer, rendering, pairs
        self._engine, self.markers = engine(tokenizer), markers_of(tokenizer)
        probe = self._engine.encode("a")
        inner = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
        first, last = (inner[0], inner[-1]) if inner else (len(probe.ids), len(probe.ids))
        self._before = [] if rendering.chat else probe.ids[:first]
        behind = probe.ids[last + 1 :]
        self._after, self.left_out = (behind, []) if pairs else ([], behind)
        self._codes = codes

    def __call__(self, rows: Sequence[PromptText], language: str = "") -> list[Rendered]:
        """The ids of rows.

        Args:
            rows: of one language.
            language: theirs, "en>hi"; it is asked for where there are codes.

        Raises:
            UserError: the tokenizer cannot render them, or a language has no code.
        """
        frame = Frame(tuple(self._before), tuple(self._after))
        if self._codes is not None:
            frame = self._codes.framed(frame, self._codes.of_pair(language)[0])
        quoted = [self._quoted(row) for row in rows]
        texts = [self._rendering.texts(self._tokenizer, row) for row in quoted]
        named = [
            (self.markers.named(prompt), self.markers.named(response or ""))
            for prompt, response in texts
        ]
        prompts = self._encode([prompt for prompt, _ in named])
        responses = self._responses(named, prompts)
        contents = [ids for ids, _ in responses]
        if self._rendering.chat:  # whose responses end by themselves
            contents = self._encode([self.markers.named(row.response or "") for row in quoted])
        return [
            self._one(frame, *one) for one in zip(rows, prompts, responses, contents, strict=True)
        ]

    def _quoted(self, row: PromptText) -> PromptText:
        response = None if row.response is None else self.markers.quoted(row.response)
        return PromptText(self.markers.quoted(row.prompt), response, row.group)

    def _encode(self, texts: list[str]) -> list[list[int]]:
        encodings = self._engine.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _responses(
        self, texts: list[tuple[str, str]], prompts: list[list[int]]
    ) -> list[tuple[list[int], bool]]:
        """The ids of responses, and whether they begin inside of a token."""
        if self._pairs:  # two texts for two models, each by itself
            return [(ids, False) for ids in self._encode([response for _, response in texts])]
        both = ["".join(pair) if pair[1] else "" for pair in texts]
        wholes = self._engine.encode_batch(both, add_special_tokens=False)
        found = []
        for (prompt, response), ids, whole in zip(texts, prompts, wholes, strict=True):
            behind = _behind(whole, len(prompt), ids)
            inside = behind is None
            found.append((self._apart(response) if behind is None else behind, inside))
        return found

    def _apart(self, response: str) -> list[int]:
        """The ids of a response that begins inside of a token, as they follow upon another text."""
        for anchor in ANCHORS:
            (alone,) = self._encode([anchor])
            whole = self._engine.encode(anchor + response, add_special_tokens=False)
            behind = _behind(whole, len(anchor), alone)
            if behind and whole.ids[: len(alone)] == alone:
                return behind
        return self._encode([response])[0]

    def _one(
        self,
        frame: Frame,
        row: PromptText,
        prompt: list[int],
        continuation: tuple[list[int], bool],
        content: list[int],
    ) -> Rendered:
        whole, (response, inside) = [*frame.before, *prompt, *frame.after], continuation
        if not prompt:
            return Rendered(whole, None, "no tokens")
        if row.response is None:
            return Rendered(whole, None)
        if not content:
            return Rendered(whole, None, "empty response (no tokens)")
        if any(token in self.eos_ids for token in content):
            return Rendered(whole, None, "a response that holds an ending token")
        ends = [place for place, token in enumerate(response) if token in self.eos_ids]
        response = response[: ends[0] + 1] if ends else [*response, self.eos_ids[0]]
        return Rendered(whole, response, inside=inside)


def _behind(whole: Encoding, border: int, prompt: list[int]) -> list[int] | None:
    """The ids of a text behind its first `border` characters; None: a token reaches over them.

    A space that ends the prompt may belong to the first word behind it in the tokenizer's offsets,
    though the prompt has the same ids without it: then nothing reaches over.
    """
    length = len(prompt)
    if whole.ids[:length] == prompt and (not length or whole.offsets[length - 1][1] <= border):
        return whole.ids[length:]
    if any(start < border < stop for start, stop in whole.offsets):
        return None
    return [
        token for token, (start, _) in zip(whole.ids, whole.offsets, strict=True) if start >= border
    ]


def first_difference(one: str, other: str) -> int:
    """Number of characters with which both texts begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
