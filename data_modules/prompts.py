"""Prompts and responses: for supervised, sequence-level and on-policy distillation."""

from __future__ import annotations

from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from numpy.typing import NDArray

from data_modules.corpus import Corpus
from data_modules.feeding.collation import Collate
from data_modules.feeding.plan import Plan
from data_modules.prompting.collation import PromptCollator, Responses
from data_modules.prompting.rendering import PlainText, Renderer, Rendering
from data_modules.prompting.sources import PromptSource, resolve_prompts
from data_modules.prompting.starts import TargetStarts
from data_modules.prompting.store import (
    Limits,
    Writing,
    prompt_lengths,
    teacher_answers,
    write_prompts,
)
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_report import show
from data_modules.storing.token_store import TokenStore
from data_modules.storing.tokenising import SPLITS, Split
from data_modules.text.language_codes import codes_of, warn_of_one_code
from lit_distill.batch import PromptBatch
from lit_distill.counter_random import Purpose, key, words
from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, PositiveShare, Seed, check_knobs

FORMAT = 2
"""Part of every fingerprint, as `tokenising.FORMAT`."""


class PromptCorpus(Corpus):
    """Prompts with and without responses, from `sources`.

    A batch has `rows` at the positions whose next token is a response's, the ending token included;
    a prompt without a response has none. `prompt_ids` are the prompts to be continued.

    Args:
        sources: see `PromptSource`.
        data_dir: where relative paths of the sources start.
        rendering: `PlainText`, or the tokenizer's own `ChatTemplate`.
        layout: `decoder` reads prompt and response as one text; `pairs` is for encoder-decoders.
        max_prompt_length: most tokens of a prompt; longer ones are left out and counted. None: half
            of `max_length`, or all of it for pairs. `max_length` is that of prompt and response
            together (pairs: of each); a longer row is left out and counted too, never cut, for what
            is cut does not end.
        response_room: tokens for which every text is reckoned to have room behind its prompt in
            `batch_tokens`, for responses that a model has yet to write.
        labelled_share: share of the responses in training that are shown, the same ones in every
            run; all prompts stay. The order of texts does not depend on it.
        labelled_seed: of the choice of them.
        only_labelled: training leaves prompts without a (shown) response out.
        stop_tokens: tokens that end a text beside the tokenizer's EOS, such as "<|eot_id|>".
        decoder_start: token with which targets of pairs begin; None: the pad token, as in T5, mT5
            and Marian (BART, M2M-100, NLLB and mBART-50: EOS; mBART: "{code}", the code itself).
        language_codes: the tokenizer's token for each language of pairs that are named like
            "en>hi", as {en: eng_Latn}: the source's stands in the tokenizer's frame, and the target
            begins with its own, behind `decoder_start`. None: the tokenizer is not told languages.
        corpus: see `Corpus`. Validation holds prompts out by a hash of their `group`.

    Attributes:
        eos_ids: ids that end a text, the tokenizer's own first.
    """

    def __init__(
        self,
        sources: list[PromptSource],
        data_dir: str = ".",
        rendering: Rendering = PlainText(),  # noqa: B008 (frozen)
        layout: Literal["decoder", "pairs"] = "decoder",
        max_prompt_length: Count | None = None,
        response_room: CountOrNone = 0,
        labelled_share: PositiveShare = 1.0,
        labelled_seed: Seed = 0,
        only_labelled: bool = False,
        stop_tokens: list[str] = [],  # noqa: B006 (never changed)
        decoder_start: str | None = None,
        language_codes: dict[str, str] | None = None,
        **corpus: Any,
    ) -> None:
        check_knobs(PromptCorpus, locals())
        pairs = layout == "pairs"
        chosen = Responses(pairs, labelled_share, labelled_seed, only_labelled)
        super().__init__(objective=chosen, mask_variants=None, **corpus)
        self.responses = chosen
        self.sources, self.data_dir = sources, Path(data_dir).expanduser()
        self.rendering, self.response_room = rendering, response_room
        limit = max_prompt_length or (self.max_length if pairs else self.max_length // 2)
        if limit > self.max_length - (not pairs):
            raise UserError(
                f"max_prompt_length is {limit} and max_length {self.max_length}: nothing is left "
                "for a response. Raise data.init_args.max_length."
            )
        self.limits = Limits(limit, self.max_length, pairs)
        self.stop_tokens, self._decoder_start = stop_tokens, decoder_start
        self.language_codes = language_codes
        if language_codes and not pairs:
            raise UserError(
                "language_codes are for translators, which read sources and targets: set "
                "data.init_args.layout to pairs, or leave them out."
            )
        self._renderer: Renderer | None = None
        self._prompts: dict[Split, NDArray[np.int64]] = {}
        self._labelled: dict[Split, NDArray[np.bool_]] = {}

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`; every text is a `PromptText`."""
        return resolve_prompts(self.sources, self.data_dir)

    @property
    def renderer(self) -> Renderer:
        """From rows to ids, with the run's tokenizer.

        Raises:
            UserError: the tokenizer cannot: it has no EOS token, say.
        """
        if self._renderer is None:
            self._renderer = self.renderer_with(self.tokenizer)
        return self._renderer

    def renderer_with(self, tokenizer: Any) -> Renderer:
        """As `renderer`, with another tokenizer.

        Raises:
            UserError: it cannot, or lacks a code of `language_codes`.
        """
        codes = codes_of(self.language_codes, tokenizer)
        given = self.rendering, self.stop_tokens, self.responses.pairs
        return Renderer(tokenizer, *given, codes)

    @property
    def partly_labelled(self) -> bool:
        """Whether training shows prompts without a response."""
        labelled = self._labelled.get("train")
        alone = labelled is not None and not bool(labelled.all())
        return alone and not self.responses.only_labelled

    @property
    def eos_ids(self) -> list[int]:
        """Ids that end a text, the tokenizer's own first."""
        return self.renderer.eos_ids

    @property
    def starts(self) -> TargetStarts:
        """With what targets of pairs begin."""
        codes = codes_of(self.language_codes, self.tokenizer)
        return TargetStarts(self.tokenizer, self._decoder_start, codes)

    @property
    def decoder_start_id(self) -> int | None:
        """With what all targets of pairs begin; None for decoders, and where each has its own.

        Raises:
            UserError: the tokenizer has no such token.
        """
        return self.starts.common_id if self.responses.pairs else None

    def provenance(self) -> dict[str, Any]:
        """See `Corpus.provenance`.

        Raises:
            UserError: always.
        """
        raise UserError(
            "A teacher cache holds whole texts, and what is read of a prompt corpus depends on its "
            "labels and on what a student writes: let the teacher run (leave teacher_cache out)."
        )

    # -- once -----------------------------------------------------------------------------------

    def _tokenise(self, texts: list[LanguageTexts], folder: Path) -> None:
        writing = Writing(self.renderer, self.limits, self.settings, self.max_broken)
        size = max(self.tokenizer.get_vocab().values()) + 1
        reports = write_prompts(texts, writing, size, folder)
        show(reports, {split: TokenStore(folder / split) for split in SPLITS})
        for report in reports:
            if report.too_long or report.too_long_responses:
                rank_zero_info(
                    f"{report.name}, {report.language}: of {report.rows} rows {report.too_long} "
                    f"have a prompt of more than {self.limits.prompt} tokens and "
                    f"{report.too_long_responses} are longer than {self.limits.whole} with their "
                    "response; they are left out."
                )
            if report.inside:
                rank_zero_warn(
                    f"{report.name}, {report.language}: {report.inside} responses begin inside of "
                    "a token of prompt and response as one text, behind a prompt that ends in a "
                    "space, say. They are read as they follow upon the prompt that is continued, "
                    "in tokens that models have hardly seen there: better give the space to the "
                    'response (`prompt: "...:"`, `response: " {response}"`).'
                )

    def _folder(self, texts: list[LanguageTexts]) -> Path:
        same = super()._folder(texts).name, self.rendering, asdict(self.limits), self.eos_ids
        template = self.tokenizer.chat_template if self.rendering.chat else None
        if self.responses.pairs:
            self.starts.by_language([one.language for one in texts])  # raises
        codes = self.starts.codes
        stamps = [] if codes is None else [codes.stamp]
        digest = blake2b(repr((FORMAT, *same, template, *stamps)).encode("utf-8"), digest_size=16)
        return self.cache_dir / digest.hexdigest()

    def setup(self, stage: str) -> None:
        """Maps the stores, chooses the responses that are shown, and checks every language.

        Raises:
            UserError: as of `Corpus`; or a language has no response to be measured on.
        """
        ready = bool(self._stores)
        super().setup(stage)
        if ready:
            return
        _ = self.decoder_start_id  # raises
        if self.responses.pairs and not self.language_codes:
            warn_of_one_code(self.tokenizer, self.languages)
        if self.renderer.left_out and not self.rendering.chat:
            rank_zero_warn(
                "The tokenizer puts an ending token behind every text. It is left out behind "
                "prompts here, and whoever calls the exported student's tokenizer on a prompt must "
                "leave it out too (add_special_tokens=False), or the student has nothing to add: "
                "better train the tokenizer with add_eos=false."
            )
        for split, store in self._stores.items():
            prompts = self._prompts[split] = prompt_lengths(store)
            shown = self.responses if split == "train" else Responses()
            self._labelled[split] = shown.labelled(store.lengths > prompts, store.language)
        needed: list[Split] = ["validation"]
        if self.responses.only_labelled:
            needed.append("train")
        for split in needed:
            store, labelled = self._stores[split], self._labelled[split]
            counts = np.bincount(store.language[labelled], minlength=len(self.languages))
            empty = [name for name, n in zip(self.languages, counts, strict=True) if n == 0]
            if empty:
                raise UserError(
                    f"No {split} prompt of {', '.join(empty)} has a response, so nothing can be "
                    "measured or trained on it: give its source `validation` rows with responses."
                )

    # -- feeding --------------------------------------------------------------------------------

    def _lengths(self, split: Split) -> NDArray[np.int64]:
        """Positions (W,) for which a text is reckoned in a batch."""
        whole, prompts = self._stores[split].lengths.astype(np.int64), self._prompts[split]
        if self.responses.pairs:
            apart = np.maximum(whole - prompts, self.response_room)
            return np.asarray(np.maximum(prompts, apart))
        return np.asarray(np.maximum(whole, prompts + self.response_room))

    def plan(self) -> Plan:
        """The order of all training batches, from the first on."""
        language, shares = self.train.language, self.shares()
        if self.responses.only_labelled:  # the others are of a language that is never drawn
            language = np.where(self._labelled["train"], language, len(shares))
            shares = np.append(shares, 0.0)
        lengths = self._lengths("train")
        return Plan(lengths, language, shares, self.batch_tokens, self.seed, self.pool_size)

    def _collator(self, split: Split) -> Collate[PromptBatch]:
        return PromptCollator(
            self._stores[split],
            self._prompts[split],
            self._labelled[split],
            self.eos_ids[0] if self.tokenizer.pad_token_id is None else self._pad_id,
            self.decoder_start_id,
            self.starts.by_language(self.languages) if self.responses.pairs else None,
        )

    def teacher_answers(self, split: Split) -> list[str | None]:
        """What a teacher answered to every prompt of validation or test, by `sample_id`."""
        return teacher_answers(self._stores[split])

    def sample_prompts(self, split: Split, per_language: int, seed: int) -> PromptBatch:
        """One batch of so many prompts of every language, languages in order, always the same ones.

        Args:
            split: of which; prompts with a response come first.
            per_language: at most so many of each.
            seed: of the choice.
        """
        store, labelled = self._stores[split], self._labelled[split]
        draws = words(key(seed, Purpose.SHOWN_PROMPTS), np.arange(len(store.lengths)))
        windows = []
        for number in range(len(self.languages)):
            own = np.flatnonzero(store.language == number)
            order = np.lexsort((draws[own], ~labelled[own]))
            windows.append(np.sort(own[order[:per_language]]))
        joined = np.concatenate(windows)
        return self._collator(split)(joined, np.zeros_like(joined))
