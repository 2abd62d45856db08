"""Queries with lists of passages: for embedders, rankers and whoever distils them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray

from data_modules.corpus import Corpus
from data_modules.feeding.collation import Collate
from data_modules.feeding.loader import EvaluationLoader, evaluation_loaders
from data_modules.feeding.plan import Plan
from data_modules.feeding.sampling import shares_of_trained
from data_modules.objectives.objectives import VALIDATION_SEED, NoTargets
from data_modules.ranking.collation import Draw, LanguageMixing, ListCollator
from data_modules.ranking.collection import Collection, CollectionReader
from data_modules.ranking.gathering import Chosen, languages_of
from data_modules.ranking.in_files.resolving import resolve_retrieval
from data_modules.ranking.in_files.sources import RetrievalSource
from data_modules.ranking.scores import stamp_of
from data_modules.ranking.store import Prefixes, Writing, write_lists
from data_modules.ranking.stored import PASSAGES, StoredLists, StoredTexts
from data_modules.reading.sources import LanguageTexts
from data_modules.storing.corpus_report import check_broken, read_reports
from data_modules.storing.tokenising import SPLITS, Split
from lit_distill.batch import RetrievalBatch
from lit_distill.errors import UserError
from lit_distill.knobs import Count, check_knobs

FORMAT = 1
"""Part of every fingerprint, as `tokenising.FORMAT`."""


class RetrievalCorpus(Corpus):
    """Queries with lists of passages and, where there are any, a teacher's scores of them.

    Batches are `RetrievalBatch`es. An example is a list in one language of its query; a batch holds
    each of its passages once. Passages may be there in several languages under one id: training
    then mixes them, and scores, given once, hold for every language.

    Args:
        sources: see `RetrievalSource`.
        data_dir: where relative paths of the sources and of `scores` start.
        list_size: places of a list, n: longer ones are cut as `draw` says.
        draw: `first`: the first n passages of a list, always. `random`: others in every pass, of
            which one is relevant where the list has any.
        language_mixing: `passages`: each passage of a list in one language, drawn among those that
            it has, anew in every pass. `entries`: all of a list in one language, drawn likewise
            among those that all of them have. `all`: the list once in each such language, in rows
            of the same `group`, with the same scores.
        query_languages: read queries in these alone; None: in all. Each is an example of its own.
        passage_languages: read passages in these alone; None: in all.
        query_prefix: stands before every query, as "query: " does for E5.
        passage_prefix: stands before every passage, as "passage: " does.
        max_query_length: most tokens of a query, special ones included; None: `max_length`, which
            is that of a passage. What is longer is cut at its end, and counted.
        scores: a folder with a teacher's scores of these very lists, in the form of
            `data_modules.ranking.scores`.
        corpus: see `Corpus`. `batch_tokens` are the positions of all passages of a batch, `sampler`
            is of the languages of queries, and validation holds queries out by a hash.
    """

    def __init__(
        self,
        sources: list[RetrievalSource],
        data_dir: str = ".",
        list_size: Count = 8,
        draw: Draw = "first",
        language_mixing: LanguageMixing = "passages",
        query_languages: list[str] | None = None,
        passage_languages: list[str] | None = None,
        query_prefix: str = "",
        passage_prefix: str = "",
        max_query_length: Count | None = None,
        scores: str | None = None,
        **corpus: Any,
    ) -> None:
        check_knobs(RetrievalCorpus, locals())
        super().__init__(objective=NoTargets(), mask_variants=None, **corpus)
        self.sources, self.data_dir = sources, Path(data_dir).expanduser()
        self.list_size, self.draw, self.language_mixing = list_size, draw, language_mixing
        self.chosen = Chosen(_tuple(query_languages), _tuple(passage_languages))
        self.prefixes = Prefixes(query_prefix, passage_prefix)
        self.max_query_length = min(max_query_length or self.max_length, self.max_length)
        self.scores = None if scores is None else self.data_dir / Path(scores).expanduser()
        self._passages: StoredTexts | None = None
        self._lists: dict[Split, StoredLists] = {}

    def collections(self) -> list[Collection]:
        """Where passages, queries and lists come from, cheaply."""
        return resolve_retrieval(self.sources, self.data_dir)

    def texts(self) -> list[LanguageTexts]:
        """See `Corpus.texts`: passages and queries are read in training, queries in testing."""
        collections = self.collections()
        found = []
        for language in languages_of(collections, self.chosen):
            texts = LanguageTexts(language)
            for one in collections:
                texts.train.append(CollectionReader(one, language, "passages"))
                texts.train.append(CollectionReader(one, language, "queries"))
                if "test" in one.given:
                    texts.test.append(CollectionReader(one, language, "tested"))
            found.append(texts)
        return found

    @property
    def content(self) -> str:
        """See `Corpus.content`: texts, lists and scores, and what is read of them."""
        own, passages = self._lists["train"], self._read_passages
        digest = blake2b(f"{own.content} {passages.store.content}".encode(), digest_size=16)
        digest.update(np.ascontiguousarray(passages.copies).tobytes())
        digest.update(repr((self.language_mixing, self.list_size, self.draw)).encode())
        return digest.hexdigest()

    def provenance(self) -> dict[str, Any]:
        """See `Corpus.provenance`.

        Raises:
            UserError: always.
        """
        raise UserError(
            "A teacher cache holds what a teacher says about single texts: of lists write its "
            "scores into a folder, and give it as data.init_args.scores (docs/retrieval.md)."
        )

    # -- once -----------------------------------------------------------------------------------

    def _tokenise(self, texts: list[LanguageTexts], folder: Path) -> None:
        given = self.collections(), self._writing, self.settings, self.max_broken, folder
        for report in write_lists(*given):
            rank_zero_info(
                f"{report.name}: {report.rows:,} rows; {report.broken:,} broken, {report.cut:,} "
                f"texts cut at their end, {report.unknown:,} places of lists name no passage, "
                f"{report.false_negatives:,} negatives are relevant and left out."
            )

    @property
    def _writing(self) -> Writing:
        return Writing(
            self.tokenizer,
            self.frame,
            self.prefixes,
            self.max_query_length,
            self.chosen,
            self.scores,
        )

    def _folder(self, texts: list[LanguageTexts]) -> Path:
        scores = None if self.scores is None else stamp_of(self.scores)
        same = super()._folder(texts).name, self.prefixes, self.max_query_length, self.chosen
        digest = blake2b(repr(("ranking", FORMAT, *same, scores)).encode(), digest_size=16)
        return self.cache_dir / digest.hexdigest()

    def setup(self, stage: str) -> None:
        """Maps the stores and checks that there is something to train on and to measure.

        Raises:
            UserError: there are no lists for training or validation, some have scores and others
                not, no language has all passages of a list, or one fits into no batch.
        """
        del stage
        if self._lists:
            return
        folder = self._folder(self.texts())
        if not folder.is_dir():
            self.prepare_data()
        self.report = read_reports(folder)
        check_broken(self.report, self.max_broken)
        passages = StoredTexts.of(folder / PASSAGES)
        lists = {split: StoredLists.of(folder / split, len(passages.copies)) for split in SPLITS}
        for split in ("train", "validation"):
            self._check(lists[split], passages, split)
        self._passages, self._lists = passages, lists
        self._stores = {split: own.queries.store for split, own in lists.items()}
        self.place = folder

    def _check(self, lists: StoredLists, passages: StoredTexts, split: Split) -> None:
        if not len(lists.query):
            remedy = f"lower data.init_args.holdout ({self.holdout}), or give `validation`"
            if split == "train":
                remedy = "give the sources judgements or rows as `files`, or `lists`"
            first = next((one.first for one in self.report if one.first), "")
            raise UserError(
                f"No query for {split}: of {sum(one.rows for one in self.report):,} rows "
                f"{sum(one.broken for one in self.report):,} are broken, and places of lists name "
                f"{sum(one.unknown for one in self.report):,} unknown passages; {remedy}."
                + (f" The first broken row: {first}." if first else "")
            )
        if lists.scored and lists.unscored:
            raise UserError(
                f"{lists.unscored} of {len(lists.query)} lists for {split} have no score for every "
                "passage, and the others have: score all of them."
            )
        if self.language_mixing != "passages":
            there = passages.copies[lists.passages] >= 0
            in_all: NDArray[np.bool_] = np.logical_and.reduceat(there, lists.starts)  # (E, L)
            common: NDArray[np.bool_] = np.any(in_all, axis=1)
            if not common.all():
                raise UserError(
                    f"{int((~common).sum())} of {len(common)} lists for {split} have no language "
                    f"in which all their passages are there, as language_mixing: "
                    f"{self.language_mixing} needs: use language_mixing: passages."
                )
        longest = int(self._positions(lists, passages).max())
        if longest > self.batch_tokens:
            raise UserError(
                f"data.init_args.batch_tokens is {self.batch_tokens}, and the passages of one list "
                f"take up to {longest} positions (list_size {self.list_size}, max_length "
                f"{self.max_length}): raise it to that, or lower one of these."
            )

    # -- feeding --------------------------------------------------------------------------------

    @property
    def _read_passages(self) -> StoredTexts:
        assert self._passages is not None, "known after `setup`"
        return self._passages

    def _positions(self, lists: StoredLists, passages: StoredTexts) -> NDArray[np.int64]:
        """Positions (X,) that every example takes in a batch, at most.

        All have equally many places, so that examples times the longest one bounds a batch.
        """
        longest = np.maximum.reduceat(passages.longest[lists.passages], lists.starts)
        width = min(self.list_size, int(lists.counts.max()))
        if self.language_mixing == "all":
            width *= passages.copies.shape[1]
        entry, query = lists.examples
        found = np.maximum(width * longest[entry], lists.queries.store.lengths[query])
        return np.asarray(found, dtype=np.int64)

    def _lengths(self, split: Split) -> NDArray[np.int64]:
        """See `_positions`."""
        return self._positions(self._lists[split], self._read_passages)

    def training_tokens(self) -> dict[str, int]:
        """Positions of the training examples, by language of queries."""
        language, count = self._lists["train"].language, len(self.languages)
        positions = np.bincount(language, self._lengths("train"), minlength=count).astype(int)
        return dict(zip(self.languages, positions.tolist(), strict=True))

    def shares(self) -> NDArray[np.float64]:
        """Share of every language of queries in the training positions."""
        return shares_of_trained(self.sampler, self.training_tokens())

    def plan(self) -> Plan:
        """The order of all training batches, from the first on."""
        language = self._lists["train"].language
        given = self.shares(), self.batch_tokens, self.seed, self.pool_size
        return Plan(self._lengths("train"), language, *given)

    def _collator(self, split: Split) -> Collate[RetrievalBatch]:
        return ListCollator(
            self._lists[split],
            self._read_passages,
            self.language_mixing,
            self.list_size,
            self.draw if split == "train" else "first",
            self.seed if split == "train" else VALIDATION_SEED,
            self._pad_id,
        )

    def _evaluation(self, split: Split, most: int | None) -> list[EvaluationLoader]:
        assert self.trainer is not None
        language, lengths = self._lists[split].language, self._lengths(split)
        given = self._collator(split), self.batch_tokens, self.trainer, most
        return evaluation_loaders(language, lengths, *given)


def _tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(sorted(set(names)))
