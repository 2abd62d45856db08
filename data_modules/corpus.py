"""What all corpora share: tokenised once, sampled by language, fed resumably, measured."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval
from lightning.pytorch import LightningDataModule
from transformers import PreTrainedTokenizerFast

from data_modules.feeding.collation import Collate, Collator
from data_modules.feeding.loader import EvaluationLoader, WindowLoader, evaluation_loaders
from data_modules.feeding.plan import POOL_SIZE, Plan
from data_modules.feeding.provenance import order_identity, provenance_of
from data_modules.feeding.sampling import Proportional, Sampler, mixture_counts
from data_modules.objectives.objectives import VALIDATION_SEED, Objective, objective_for
from data_modules.reading.sources import LanguageTexts
from data_modules.storing import corpus_report
from data_modules.storing.corpus_cache import made_once
from data_modules.storing.known_texts import KnownTexts
from data_modules.storing.token_store import TokenStore
from data_modules.storing.tokenising import SPLITS, Settings, Split, fingerprint, tokenise
from data_modules.storing.word_breaks import warn_of
from data_modules.text.framing import Frame
from lit_distill.errors import UserError
from lit_distill.knobs import Count, CountOrNone, Seed, Share, check_knobs
from lit_distill.models import load_tokenizer

HoldOut = Annotated[int, Interval(ge=2, le=2**31 - 1), "1 would hold out every text"]
"""One of how many texts is for validation."""


class Corpus(LightningDataModule, KnownTexts):
    """A tokenised corpus of languages and mixes; a subclass says where its texts come from.

    Args:
        tokenizer: its name or folder; the command line fills it in from `--tokenizer`.
        objective: what is predicted; None: what the method reads, and of masked and next tokens, if
            it reads either, what the tokenizer is for.
        sampler: how much of each language is fed.
        max_length: most tokens of a window, special ones included; longer texts become several.
        batch_tokens: most positions of a batch, padding included.
        updates_per_epoch: optimizer updates that make an epoch.
        holdout: one text of so many, by a hash of the text, is for validation where a source has
            no validation texts.
        validation_windows: at most so many windows of each language are measured in validation,
            evenly spread over its texts and always the same. `test` measures all.
        deduplicate: feed exact repeats within a language once.
        exclude: files (as `files` of a source, `{language}` for all there are) whose texts are left
            out of training and validation: those by which something else is measured.
        max_broken: share of broken rows of a file above which the run stops.
        pool_size: windows that are sorted by length together.
        seed: of order and masks.
        mask_variants: pass p over a text repeats the masks of pass p mod so many, which is what a
            teacher cache holds; None: every pass draws new ones.
        num_workers: processes that make batches; the batches are the same for any number.
        cache_dir: where tokenised corpora are kept; one that is not as it was written is made anew.

    Attributes:
        languages: tags; `batch["language"]` indexes them. There after `setup`.
        report: rows read, broken, repeated and held out per file. There after `setup`.
    """

    def __init__(
        self,
        tokenizer: str | None = None,
        objective: Objective | None = None,
        sampler: Sampler = Proportional(),  # noqa: B008 (frozen)
        max_length: Count = 128,
        batch_tokens: Count = 4096,
        updates_per_epoch: Count = 1000,
        holdout: HoldOut = 50,
        validation_windows: Count = 500,
        deduplicate: bool = True,
        exclude: list[str] = [],  # noqa: B006 (never changed)
        max_broken: Share = 0.01,
        pool_size: Count = POOL_SIZE,
        seed: Seed = 0,
        mask_variants: Count | None = None,
        num_workers: CountOrNone = 0,
        cache_dir: str = "~/.cache/lit_distill",
    ) -> None:
        super().__init__()
        check_knobs(Corpus, locals())
        if batch_tokens < max_length:
            raise UserError(
                f"data.init_args.batch_tokens is {batch_tokens}, and one window can have "
                f"max_length = {max_length}: use {max_length} or more."
            )
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer else None
        self._objective, self.sampler = objective, sampler
        self.max_length, self.batch_tokens = max_length, batch_tokens
        self.updates_per_epoch, self.validation_windows = updates_per_epoch, validation_windows
        self.holdout, self.deduplicate, self.exclude = holdout, deduplicate, exclude
        self.max_broken, self.mask_variants = max_broken, mask_variants
        self.pool_size, self.seed, self.num_workers = pool_size, seed, num_workers
        self.cache_dir = Path(cache_dir).expanduser()
        self.report: list[corpus_report.FileReport] = []
        self._resumed: dict[str, Any] | None = None
        self._loader: WindowLoader | None = None
        self._stores: dict[Split, TokenStore] = {}

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of the texts.

        Raises:
            UserError: none was given; only `train-tokenizer` can do without.
        """
        if self._tokenizer is None:
            raise UserError(
                "The data module has no tokenizer: set data.init_args.tokenizer to a name or "
                "folder (--tokenizer of fit, validate and test; --data.tokenizer of tools)."
            )
        return self._tokenizer

    def read_with(self, model: str) -> None:
        """Takes the tokenizer of a model, by folder or hub name, unless one was given."""
        self._tokenizer = self._tokenizer or load_tokenizer(model)

    @property
    def objective(self) -> Objective:
        """What is predicted."""
        if self._objective is None:
            method = None if self.trainer is None else self.trainer.lightning_module
            self._objective = objective_for(getattr(method, "reads", ()), self.tokenizer)
        return self._objective

    @property
    def settings(self) -> Settings:
        """What decides on the stores beside texts and tokenizer."""
        return Settings(self.max_length, self.holdout, self.deduplicate, self.excluded)

    @cached_property
    def frame(self) -> Frame:
        """Special tokens around windows and texts."""
        return self.objective.frame(self.tokenizer)

    @property
    def eos_ids(self) -> list[int]:
        """Ids that end a text for a model that reads it from left to right."""
        return list(self.frame.end[-1:])

    @property
    def languages(self) -> list[str]:
        """Tags of languages and mixes, sorted."""
        return self._stores["train"].languages

    @property
    def token_languages(self) -> list[str]:
        """Languages of words, which `batch["token_language"]` numbers from 1; often none."""
        return self._stores["train"].tag_names

    @property
    def train(self) -> TokenStore:
        """The training windows."""
        return self._stores["train"]

    def windows(self, split: Split) -> dict[str, int]:
        """Numbers of windows of a split by language."""
        return dict(zip(self.languages, self._stores[split].windows_per_language(), strict=True))

    @property
    def content(self) -> str:
        """Hash of all that is trained on: the same on another machine, for other file times."""
        return self.train.content

    # -- once -----------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Tokenises, unless the cache has it."""
        texts = self.texts()
        made_once(self._folder(texts), lambda folder: self._tokenise(texts, folder))

    def _tokenise(self, texts: list[LanguageTexts], folder: Path) -> None:
        given = self.frame, self.objective.breaks(), self.max_broken, folder
        reports = tokenise(texts, self.tokenizer, self.settings, *given)
        corpus_report.show(reports, {split: TokenStore(folder / split) for split in SPLITS})

    def setup(self, stage: str) -> None:
        """Maps the stores and checks that every language can be trained and measured.

        Raises:
            UserError: a language has no training or no validation text.
        """
        del stage
        if self._stores:
            return
        texts = self.texts()
        folder = self._folder(texts)
        if not folder.is_dir():
            self.prepare_data()
        stores = {split: TokenStore(folder / split) for split in SPLITS}
        self.report = corpus_report.read_reports(folder)
        corpus_report.check_broken(self.report, self.max_broken)
        if self.objective.breaks() is not None:
            warn_of(self.report)
        untrained = [language.language for language in texts if not language.train]
        corpus_report.check_splits(stores, self.report, self.holdout, untrained)
        self._weights = {language.language: language.weight for language in texts}
        self._stores, self.place = stores, folder

    def _folder(self, texts: list[LanguageTexts]) -> Path:
        given = self.settings, self.frame, self.objective.breaks()
        return self.cache_dir / fingerprint(texts, self.tokenizer, *given)

    # -- feeding --------------------------------------------------------------------------------

    def training_tokens(self) -> dict[str, int]:
        """Tokens of the training windows by language."""
        return dict(zip(self.languages, self.train.token_counts.sum(1).tolist(), strict=True))

    def shares(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Share of every language in the training tokens (L,), as sampled."""
        return self.sampler.shares(self.training_tokens(), self._weights)

    def collator(self) -> Collate[Any]:
        """Makes training batches, of the kind that the corpus has, of window and pass numbers."""
        return self._collator("train")

    def provenance(self) -> dict[str, Any]:
        """What decides on the training texts and their masks: see `provenance_of`."""
        made = self.train, self.collator(), self.objective, self.seed, self.mask_variants
        return provenance_of(*made)

    def plan(self) -> Plan:
        """The order of all training batches, from the first on."""
        given = self.shares(), self.batch_tokens, self.seed, self.pool_size
        return Plan(self._lengths("train"), self.train.language, *given)

    def train_dataloader(self) -> WindowLoader:
        """The endless training stream, cut into epochs; goes on where a checkpoint was."""
        assert self.trainer is not None
        self._loader = WindowLoader(
            self.plan(),
            self._collator("train"),
            self.updates_per_epoch,
            self.trainer.accumulate_grad_batches,
            self.trainer.global_rank,
            self.trainer.world_size,
            self.num_workers,
            order_identity(self.objective, self.content, self.mask_variants),
        )
        if self._resumed is not None:
            self._loader.load_state_dict(self._resumed)
            self._resumed = None
        return self._loader

    def _collator(self, split: Split) -> Collate[Any]:
        """Makes batches of a split: with training's objective, or as every run is measured."""
        store, objective, seed = self._stores[split], self.objective, self.seed
        counts = mixture_counts(store.token_counts, self.shares())
        if split != "train":
            objective, seed = objective.validation(self.tokenizer), VALIDATION_SEED
            counts = store.token_counts.sum(0) * 1.0
        select = objective.bind(self.tokenizer, counts, seed)
        variants = self.mask_variants if split == "train" else None
        return Collator(store, select, self._pad_id, variants, objective.breaks() is not None)

    def val_dataloader(self) -> list[EvaluationLoader]:
        """One loader per language: the same windows and masks in every validation and run."""
        return self._evaluation("validation", self.validation_windows)

    def test_dataloader(self) -> list[EvaluationLoader]:
        """One loader per language over its test texts.

        Raises:
            UserError: no language has any.
        """
        if not len(self._stores["test"].lengths):
            raise UserError(
                "No source has test texts: give `test` files or a `test_split`, or run "
                "`python -m lit_distill validate`."
            )
        return self._evaluation("test", None)

    def _evaluation(self, split: Split, most: int | None) -> list[EvaluationLoader]:
        assert self.trainer is not None
        store, lengths = self._stores[split], self._lengths(split)
        given = self._collator(split), self.batch_tokens, self.trainer, most
        return evaluation_loaders(store.language, lengths, *given)

    def _lengths(self, split: Split) -> np.ndarray[Any, Any]:
        """Positions (W,) that every window takes in a batch."""
        return self._stores[split].lengths

    @property
    def _pad_id(self) -> int:
        return int(self.tokenizer.pad_token_id or 0)

    def state_dict(self) -> dict[str, Any]:
        """Where the training stream is."""
        return {"loader": self._loader.state_dict() if self._loader else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the place until the loader is made."""
        self._resumed = state_dict["loader"]
