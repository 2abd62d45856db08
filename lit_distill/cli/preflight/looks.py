"""What models, data and options of a run show before its first step, without an update."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from torch import nn
from torch.optim import Optimizer

from data_modules import Corpus, PromptCorpus
from lit_distill.cli.preflight.findings import Finding
from lit_distill.cli.preflight.precision import doubtful
from lit_distill.cli.preflight.readings import misread
from lit_distill.models import FreshStudent, LanguageModel
from lit_distill.training.distillation import Distillation

RATES = {False: (1e-7, 5e-3), True: (1e-6, 2e-2)}
"""Learning rates of Adam's kind outside of which a run hardly learns, or forgets its start; of
weights that were trained before, and of fresh ones. Published recipes lie in 1e-6 to 1e-3."""
CUT = 0.1
"""Share of a language's texts that are cut before it is said."""
PASSES = 100
"""Times that a run reads a text before it is said."""
FEW = 20
"""Validation windows of a language below which its loss is mostly chance."""


def look(
    module: Distillation, optimizer: Optimizer, updates: int, ranks: int, precision: str
) -> Iterator[Finding]:
    """All that can be seen, as findings.

    Args:
        module: with its models, and the data module that has been set up.
        optimizer: of the run.
        updates: of the whole run.
        ranks: that read batches of their own.
        precision: of the trainer, such as "bf16-mixed".
    """
    yield from _sizes(module)
    yield from _rates(module, optimizer)
    yield from doubtful(module, optimizer, precision)
    yield from _padding(module)
    yield from misread(module)
    yield from _stages(module, updates)
    if isinstance(module.data, Corpus):
        yield from _texts(module.data)
        yield from _passes(module.data, updates * ranks)


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _sizes(module: Distillation) -> Iterator[Finding]:
    """Students that are no smaller than their teachers."""
    teachers = {name: _count(one) for name, one in module.cast.teacher_models.items()}
    compared = teachers and module.hears is not None
    for name, student in module.cast.student_models.items() if compared else ():
        own, largest = _count(student), max(teachers.values())
        if own >= largest and not module.takes_several and not module.by_task:
            yield Finding(
                "warning",
                "size",
                f"{name} has {own:,} parameters and its largest teacher {largest:,}: nothing "
                "becomes smaller.",
                "Is the student the one that was meant? --model.student.num_layers N carves fewer.",
            )


def _rates(module: Distillation, optimizer: Optimizer) -> Iterator[Finding]:
    """Learning rates that no recipe has."""
    if "adam" not in type(optimizer).__name__.lower():
        return
    starts = module.cast.student_specs.values()
    fresh = any(isinstance(one, FreshStudent) for one in starts)
    lowest, highest = RATES[fresh]
    rate = max(float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups)
    if lowest <= rate <= highest:
        return
    what = "fresh" if fresh else "trained"
    yield Finding(
        "warning",
        "learning rate",
        f"The highest learning rate is {rate:g}; for {what} weights and "
        f"{type(optimizer).__name__}, recipes lie between 1e-6 and 1e-3.",
        "--model.optimizer.lr sets it (1e-5 to 5e-5 fine-tunes, 1e-4 to 1e-3 distils).",
    )


def _stages(module: Distillation, updates: int) -> Iterator[Finding]:
    """Stages that begin after the run."""
    for stage, following in pairwise(module.stages.plan):
        if isinstance(stage.until, int) and 0 < updates <= stage.until:
            yield Finding(
                "warning",
                "stages",
                f"Stage {following.name} begins after update {stage.until}, and the run has "
                f"{updates:,}: it is never reached.",
                "A larger --trainer.max_steps, or a smaller until of the stages before.",
            )
            return


def _padding(module: Distillation) -> Iterator[Finding]:
    """Tables of the vocabulary that are padded differently, or hold no token at their end."""
    tokenizer = module.tokenizer
    models: dict[str, LanguageModel] = {**module.cast.student_models}
    models |= module.cast.teacher_models if module.cast.shares_vocabulary else {}
    if tokenizer is None or any(model.anatomy.has_task for model in models.values()):
        return
    rows = {name: model.vocab_size for name, model in models.items()}
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"{name} {count:,}" for name, count in rows.items())
        yield Finding(
            "note",
            "vocabulary",
            f"Tables have different numbers of rows ({listed}) for {len(tokenizer):,} tokens: "
            "losses leave out the rows without a token.",
            "Nothing is to be done here; elsewhere, resize the smaller table to the larger one.",
        )


def _texts(data: Corpus) -> Iterator[Finding]:
    """Languages of which much is cut or broken, or little is measured."""
    cut, rows = dict[str, int](), dict[str, int]()
    for report in data.report:
        rows[report.language] = rows.get(report.language, 0) + report.rows
        lost = report.cut + report.too_long + report.too_long_responses
        cut[report.language] = cut.get(report.language, 0) + lost
    over = {name: cut[name] / rows[name] for name in rows if rows[name] and cut[name]}
    over = {name: share for name, share in over.items() if share > CUT}
    if over:
        listed = ", ".join(f"{name} {share:.0%}" for name, share in sorted(over.items())[:6])
        fits, more = f"{data.max_length} tokens", "--data.max_length"
        if isinstance(data, PromptCorpus):
            fits = f"{fits} with their response, or a prompt than {data.limits.prompt}"
            more = f"{more} and --data.max_prompt_length"
        yield Finding(
            "warning",
            "length",
            f"Many texts are longer than {fits}, and are cut or left out: {listed}.",
            f"{more} {'takes' if more.count('--') == 1 else 'take'} longer ones; `preview` or "
            "`corpus-report` shows some.",
        )
    windows = data.windows("validation")
    few = {name: count for name, count in windows.items() if count < FEW}
    if few:
        listed = ", ".join(f"{name} {count}" for name, count in list(few.items())[:6])
        yield Finding(
            "note",
            "validation",
            f"Some languages have fewer than {FEW} validation windows ({listed}): their losses are "
            "mostly chance, and the best student may be chosen by them.",
            "More text, or a larger share of it by --data.holdout.",
        )


def _passes(data: Corpus, batches: int) -> Iterator[Finding]:
    """Languages that are read again and again."""
    accumulate = data.trainer.accumulate_grad_batches if data.trainer else 1
    positions = batches * accumulate * data.batch_tokens
    own = data.training_tokens()
    tokens = np.maximum([*own.values()], 1)
    passes = dict(zip(own, (data.shares() * positions / tokens).tolist(), strict=True))
    many = {name: count for name, count in passes.items() if count > PASSES}
    if many:
        listed = ", ".join(
            f"{name} {count:,.0f} times"
            for name, count in sorted(many.items(), key=lambda one: -one[1])[:6]
        )
        yield Finding(
            "warning",
            "repetition",
            f"Texts would be read again and again: {listed}.",
            "Fewer updates (--trainer.max_steps), more text, or a sampler that draws small "
            "languages less often (--data.sampler).",
        )
