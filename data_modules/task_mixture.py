"""Several tasks that one student learns at once, with a head for each."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from data_modules.feeding.loader import EvaluationLoader, WindowLoader
from data_modules.feeding.mixing import Member, MixedCollator, MixedPlan
from data_modules.labelled import LabelledCorpus
from data_modules.labelling.collation import Labels
from data_modules.storing.tokenising import Split
from data_modules.text.markers import plain_engine
from lit_distill.errors import UserError
from lit_distill.files.seen_texts import Hashes, SeenTexts
from lit_distill.knobs import Count, CountOrNone, Seed, Share, check_knobs


class TaskMixture(LightningDataModule):
    """Labelled corpora by task; every batch is of one of them, for `MultiTask`.

    A batch is of task k with the probability

        p_k = n_k^alpha / sum_j n_j^alpha,    n_k: training examples of the task

    drawn for its position in the run: the order is a function of `seed` and of the seeds of the
    tasks, the same for any number of ranks, micro-batches and workers with the same product, and a
    run resumes in it anywhere. Every task is measured by itself, language by language.

    Args:
        tasks: by name, which are those of the students. Their own `updates_per_epoch` and
            `num_workers` count nothing here.
        alpha: 1 is proportional to the examples, 0 draws all tasks equally often.
        tokenizer: of all tasks; the command line fills it in from `--tokenizer`.
        updates_per_epoch: optimizer updates that make an epoch.
        seed: of the draws of tasks.
        num_workers: processes that make batches; the batches are the same for any number.

    Source: N-LTP (Che et al., 2021), https://arxiv.org/abs/2009.11616, alpha 0.8; BAM (Clark et
    al., 2019), https://arxiv.org/abs/1907.04829, alpha 0.75.
    """

    def __init__(
        self,
        tasks: dict[str, LabelledCorpus],
        alpha: Share = 0.8,
        tokenizer: str | None = None,
        updates_per_epoch: Count = 1000,
        seed: Seed = 0,
        num_workers: CountOrNone = 0,
    ) -> None:
        super().__init__()
        check_knobs(TaskMixture, locals())
        if not tasks:
            raise UserError("TaskMixture has no task: name one in data.init_args.tasks.")
        for corpus in tasks.values():
            if tokenizer is not None:
                corpus.read_with(tokenizer)
        self.tasks, self.alpha, self.seed = tasks, alpha, seed
        self.updates_per_epoch, self.num_workers = updates_per_epoch, num_workers
        self.objective = Labels()
        self.languages: list[str] = []
        self._resumed: dict[str, Any] | None = None
        self._loader: WindowLoader | None = None

    @property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer of all tasks.

        Raises:
            UserError: there is none, or two tasks have different ones.
        """
        (first, own), *others = self.tasks.items()
        engine = plain_engine(own.tokenizer).to_str()
        for name, other in others:
            if plain_engine(other.tokenizer).to_str() != engine:
                raise UserError(
                    f"The tasks {first} and {name} have different tokenizers, and their students "
                    "are one body: leave data.init_args.tasks.*.tokenizer out and set --tokenizer."
                )
        return own.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of the longest text of any task."""
        return max(corpus.max_length for corpus in self.tasks.values())

    @property
    def seen_texts(self) -> SeenTexts:
        """What a model has read that was trained and selected on all tasks; after `setup`."""
        return reduce(SeenTexts.joined, (corpus.seen_texts for corpus in self.tasks.values()))

    def text_hashes(self, split: Split) -> Hashes:
        """Hashes (H,) of the texts of a split of all tasks; see `Corpus`."""
        found = [corpus.text_hashes(split) for corpus in self.tasks.values()]
        return np.unique(np.concatenate(found))

    def prepare_data(self) -> None:
        """Tokenises the texts of all tasks, unless the cache has them."""
        for corpus in self.tasks.values():
            corpus.prepare_data()

    def setup(self, stage: str) -> None:
        """Sets every task up; `languages` are then those of all, sorted.

        Raises:
            UserError: as of the tasks, and of `tokenizer`.
        """
        assert self.tokenizer is not None  # and the same of all
        for corpus in self.tasks.values():
            corpus.setup(stage)
        own = [corpus.languages for corpus in self.tasks.values()]
        self.languages = sorted({*chain.from_iterable(own)})
        for name, corpus in self.tasks.items():
            numbers = [self.languages.index(language) for language in corpus.languages]
            corpus.member = Member(name, list(self.tasks), np.array(numbers, dtype=np.int64))

    # -- feeding --------------------------------------------------------------------------------

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Training examples (K,) of the tasks, in order."""
        return np.array([len(corpus.examples("train")) for corpus in self.tasks.values()])

    @property
    def shares(self) -> NDArray[np.float64]:
        """Probabilities (K,) that a batch is of each task, in order."""
        scores = (self.sizes / self.sizes.max()) ** self.alpha
        return np.asarray(scores / scores.sum())

    def plan(self) -> MixedPlan:
        """The order of all training batches, from the first on."""
        plans = {name: corpus.plan() for name, corpus in self.tasks.items()}
        windows = np.array([len(corpus.train.lengths) for corpus in self.tasks.values()])
        return MixedPlan(plans, windows, self.shares, self.seed)

    def train_dataloader(self) -> WindowLoader:
        """The endless training stream, cut into epochs; goes on where a checkpoint was."""
        assert self.trainer is not None
        plan = self.plan()
        self._loader = WindowLoader(
            plan,
            MixedCollator([corpus.collator() for corpus in self._attached()], plan.firsts),
            self.updates_per_epoch,
            self.trainer.accumulate_grad_batches,
            self.trainer.global_rank,
            self.trainer.world_size,
            self.num_workers,
            {f"{name}/content": corpus.content for name, corpus in self.tasks.items()},
        )
        if self._resumed is not None:
            self._loader.load_state_dict(self._resumed)
            self._resumed = None
        return self._loader

    def val_dataloader(self) -> list[EvaluationLoader]:
        """A loader for each task and language."""
        return [one for corpus in self._attached() for one in corpus.val_dataloader()]

    def test_dataloader(self) -> list[EvaluationLoader]:
        """A loader for each task and language, over its test texts.

        Raises:
            UserError: a task has none.
        """
        return [one for corpus in self._attached() for one in corpus.test_dataloader()]

    def _attached(self) -> Iterable[LabelledCorpus]:
        """The tasks, which then know whose students they feed."""
        for corpus in self.tasks.values():
            corpus.trainer = self.trainer
            yield corpus

    def state_dict(self) -> dict[str, Any]:
        """Where the training stream is."""
        return {"loader": self._loader.state_dict() if self._loader else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the place until the loader is made."""
        self._resumed = state_dict["loader"]
