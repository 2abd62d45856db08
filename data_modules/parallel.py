"""Two views of one text: sentence pairs in any two of several languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from data_modules.corpus import Corpus
from data_modules.feeding.collation import Collate, Collator
from data_modules.feeding.loader import EvaluationLoader, evaluation_loaders
from data_modules.feeding.plan import Plan
from data_modules.objectives.objectives import VALIDATION_SEED, NoTargets, Objective
from data_modules.pairing.rows import PAIR_SPLITS, Pairing
from data_modules.pairing.sources import ParallelReader, ParallelSource, resolve_parallel
from data_modules.pairing.store import PairStore, View, write_pairs
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_cache import made_once
from data_modules.storing.corpus_report import check_broken, read_reports
from data_modules.storing.tokenising import FORMAT, Split
from data_modules.storing.word_breaks import warn_of
from data_modules.text.language_codes import codes_of, warn_of_one_code
from lit_distill.batch import PairBatch
from lit_distill.errors import UserError
from lit_distill.models import load_tokenizer


@dataclass(frozen=True)
class PairCollator:
    """Makes batches of pairs from two collators.

    Args:
        src: of the sources.
        tgt: of the targets.
        windows: (2, P) windows of every pair.
        pair: (P,) number of its languages.
    """

    src: Collator
    tgt: Collator
    windows: NDArray[np.int32]
    pair: NDArray[np.int16]

    def __call__(self, windows: NDArray[np.int64], passes: NDArray[np.int64]) -> PairBatch:
        """The batch of these pairs (B,): every key as `src_`, as `tgt_`, and the target's bare."""
        own = self.windows[:, windows].astype(np.int64)
        views = {"src_": self.src(own[0], passes), "tgt_": self.tgt(own[1], passes)}
        batch: dict[str, Any] = {
            **views["tgt_"],
            "language": torch.from_numpy(self.pair[windows].astype(np.int64)),
            "sample_id": torch.from_numpy(windows.astype(np.int64)),
        }
        counts = dict(views["tgt_"]["counts"])
        for prefix, view in views.items():
            for name, value in cast(Mapping[str, Any], view).items():
                if name == "counts":
                    counts |= {prefix + unit: number for unit, number in value.items()}
                else:
                    batch[prefix + name] = value
        return cast(PairBatch, {**batch, "counts": counts})


class ParallelCorpus(Corpus):
    """Pairs of texts that say the same, in batches with two views.

    Every key of a batch is there as `src_...` and as `tgt_...` (`src_language` and `tgt_language`
    index `text_languages`), with `counts["src_tokens"]` and so on. Without a prefix stands the
    target's view, so that methods of one text train and are measured on it; there `language` is the
    pair's number in `languages`, whose names are like "hi>en". Views may differ in tokenizer and in
    objective: what one reads masked or noised (`Noised`), the other may read whole.

    Args:
        sources: see `ParallelSource`.
        data_dir: where relative paths of the sources start.
        src_languages: languages of the first view; by default all.
        tgt_languages: languages of the second view; by default all.
        pivot: a language through which files are joined: rows with equal text in it become one, so
            that hi-en and bn-en give hi-bn as well. These rows are held in memory once.
        src_tokenizer: of the first view; by default the same.
        language_codes: the tokenizer's token for each language, {en: eng_Latn}, which stands around
            texts in the place of the one code that the tokenizer itself puts there. None: its own.
        src_language_codes: the same of `src_tokenizer`, where one is given.
        src_objective: of the first view; `objective` is the second's.
        corpus: see `Corpus`. A text longer than `max_length` is in no pair, and counted.
    """

    def __init__(
        self,
        sources: list[ParallelSource],
        data_dir: str = ".",
        src_languages: list[str] | None = None,
        tgt_languages: list[str] | None = None,
        pivot: str | None = None,
        src_tokenizer: str | None = None,
        src_objective: Objective = NoTargets(),  # noqa: B008 (frozen)
        language_codes: dict[str, str] | None = None,
        src_language_codes: dict[str, str] | None = None,
        **corpus: Any,
    ) -> None:
        super().__init__(**corpus)
        self.sources, self.data_dir = sources, Path(data_dir).expanduser()
        self.src_languages, self.tgt_languages, self.pivot = src_languages, tgt_languages, pivot
        self._src_tokenizer = load_tokenizer(src_tokenizer) if src_tokenizer else None
        self.src_objective = src_objective
        if src_language_codes and not src_tokenizer:
            raise UserError(
                "src_language_codes are those of a src_tokenizer, and there is none: give "
                "language_codes alone."
            )
        self.language_codes, self.src_language_codes = language_codes, src_language_codes
        self._splits: dict[Split, PairStore] = {}
        self._pairing: Pairing | None = None

    def readers(self) -> list[ParallelReader]:
        """Where the rows come from, cheaply."""
        return resolve_parallel(self.sources, self.data_dir)

    def texts(self) -> list[LanguageTexts]:
        """Every language's own texts, for what reads single ones (`train-tokenizer`)."""
        found: dict[str, LanguageTexts] = {}
        for parallel in self.readers():
            for language, reader in parallel.readers:
                found.setdefault(language, LanguageTexts(language)).train.append(reader)
        return [found[language] for language in sorted(found)]

    @property
    def languages(self) -> list[str]:
        """Names of the pairs, "hi>en"."""
        assert self._pairing is not None
        return [f"{source}>{target}" for source, target in self._pairing.pairs]

    @property
    def text_languages(self) -> list[str]:
        """What `src_language` and `tgt_language` index."""
        return self._splits["train"].tgt.languages

    @property
    def src_tokenizer(self) -> Any:
        """The first view's tokenizer."""
        return self._src_tokenizer or self.tokenizer

    # -- once -----------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Tokenises and pairs, unless the cache has it."""
        self._made()

    def _made(self, checked: bool = False) -> Path:
        readers = self.readers()
        there = sorted({language for reader in readers for language in reader.languages})
        pairing = Pairing.of(there, self.src_languages, self.tgt_languages, self.pivot)
        breaks, other = self.objective.breaks(), self.src_objective.breaks()
        codes = codes_of(self.language_codes, self.tokenizer)
        if self._src_tokenizer is None:  # both views read one store
            views = {"tgt": View(self.tokenizer, self.frame, breaks or other, codes)}
        else:
            frame = self.src_objective.frame(self._src_tokenizer)
            theirs = codes_of(self.src_language_codes, self._src_tokenizer)
            views = {
                "tgt": View(self.tokenizer, self.frame, breaks, codes),
                "src": View(self._src_tokenizer, frame, other, theirs),
            }
        for view in views.values():  # before the texts are read
            _ = [view.framed(language) for language in pairing.languages]
        digest = blake2b(digest_size=16)
        for part in (
            *(f"{name} {view.stamp}" for name, view in views.items()),
            *(repr(part) for part in (FORMAT, self.settings, pairing)),
            *(reader.stamp for reader in readers),
        ):
            digest.update(part.encode("utf-8"))
        self._pairing = pairing

        def write(folder: Path) -> None:
            reports = write_pairs(readers, pairing, views, self.settings, self.max_broken, folder)
            for report in reports:
                if report.broken or report.too_long:
                    rank_zero_info(f"{report}; {report.too_long} texts are too long for a window.")

        return made_once(self.cache_dir / digest.hexdigest(), write, checked)

    def setup(self, stage: str) -> None:
        """Maps the pairs and checks that every one of `languages` can be trained and measured.

        Raises:
            UserError: two languages have no training or no validation pair.
        """
        del stage
        if self._splits:
            return
        folder = self._made(checked=True)  # by `prepare_data`, once on every machine
        self.report = read_reports(folder)
        check_broken(self.report, self.max_broken)
        warn_of(self.report)
        if not self.language_codes:
            warn_of_one_code(self.tokenizer, self._pairing.languages if self._pairing else [])
        splits: dict[Split, PairStore] = {split: PairStore(folder / split) for split in PAIR_SPLITS}
        for split, store in splits.items():
            counts = np.bincount(store.pair, minlength=len(self.languages))
            empty = [name for name, count in zip(self.languages, counts, strict=True) if not count]
            if empty:
                raise UserError(
                    f"No {split} pairs for {', '.join(empty[:5])}: no row has both languages (join "
                    "files with `pivot`, or choose `src_languages` and `tgt_languages`), or too "
                    f"few are held out (one in {self.holdout}; lower "
                    "data.init_args.holdout)."
                )
        self._splits = splits
        self._stores, self.place = {split: s.tgt for split, s in splits.items()}, folder

    @property
    def content(self) -> str:
        """See `Corpus.content`: both sides, and which texts are pairs."""
        return self._splits["train"].content

    # -- feeding --------------------------------------------------------------------------------

    def windows(self, split: Split) -> dict[str, int]:
        """Numbers of pairs of texts of a split, by pair of languages."""
        counts = np.bincount(self._splits[split].pair, minlength=len(self.languages))
        return dict(zip(self.languages, counts.tolist(), strict=True))

    def training_tokens(self) -> dict[str, int]:
        """Tokens of the longer sides of training pairs, by pair of languages."""
        store = self._splits["train"]
        tokens = np.bincount(store.pair, store.lengths, minlength=len(self.languages))
        return dict(zip(self.languages, tokens.astype(int).tolist(), strict=True))

    def shares(self) -> NDArray[np.float64]:
        """Share of every pair of languages in the training tokens."""
        return self.sampler.shares(self.training_tokens())

    def plan(self) -> Plan:
        """The order of all training batches."""
        store, shares = self._splits["train"], self.shares()
        return Plan(store.lengths, store.pair, shares, self.batch_tokens, self.seed, self.pool_size)

    def _collator(self, split: Split) -> Collate[PairBatch]:
        store = self._splits[split]
        sides = {}
        for view, tokenizer, objective in (
            ("src", self.src_tokenizer, self.src_objective),
            ("tgt", self.tokenizer, self.objective),
        ):
            texts = getattr(store, view)
            counts, seed = texts.token_counts.sum(0) * 1.0, self.seed
            if split != "train":  # the first view is only looked at, the second is measured
                objective = NoTargets() if view == "src" else objective.validation(tokenizer)
                seed = VALIDATION_SEED
            select = objective.bind(tokenizer, counts, seed)
            pad, asks = int(tokenizer.pad_token_id or 0), objective.breaks() is not None
            sides[view] = Collator(texts, select, pad, words=asks)
        return PairCollator(sides["src"], sides["tgt"], store.windows, store.pair)

    def _evaluation(self, split: Split, most: int | None) -> list[EvaluationLoader]:
        assert self.trainer is not None
        store = self._splits[split]
        given = self._collator(split), self.batch_tokens, self.trainer, most
        return evaluation_loaders(store.pair, store.lengths, *given)

    def test_dataloader(self) -> list[EvaluationLoader]:
        """There are no test pairs.

        Raises:
            UserError: always.
        """
        raise UserError(
            "Parallel corpora have no test split: run `python -m lit_distill validate`."
        )
