"""The contract that every method keeps, through its shipped config."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import writers
from batches import Sample, Served, samples, window
from equalities import Equalities
from labelled import rows, write
from lightning.pytorch.strategies import ModelParallelStrategy
from ranks import on_two_ranks
from safetensors.torch import load_file
from shipped_methods import (
    CASES,
    CONFIGS,
    PRECISIONS,
    ROOT,
    Keep,
    Shipped,
    build,
    quiet_trainer,
    read,
)
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from lit_distill.__main__ import main
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import relations
from lit_distill.losses.fused import row_pass
from lit_distill.losses.fused.tiles import buffers
from lit_distill.models import (
    Execution,
    LayerCopyStudent,
    PretrainedStudent,
    TeacherSpec,
    shard,
    shard_auxiliary,
)
from lit_distill.training.distillation import Distillation

IDS = [f"{shipped.name}-{family}" for shipped, family in CASES]
VOCABULARY = 100
UPDATES = 2
Step = Callable[..., torch.Tensor]


@pytest.fixture(scope="module", params=CASES, ids=IDS)
def case(request: pytest.FixtureRequest) -> tuple[Shipped, str]:
    """A method and a family of models."""
    return request.param


@pytest.fixture(scope="module")
def method(case: tuple[Shipped, str], tiny_models: dict[str, Path]) -> Callable[..., Distillation]:
    """Builds the method of one shipped config on a tiny teacher, with plain SGD of rate 1."""
    return functools.partial(build, case[0], tiny_models[case[1]])


@pytest.fixture(scope="module")
def batch_of(case: tuple[Shipped, str]) -> Callable[..., Batch]:
    """Makes a batch of texts as the models of this family read them."""
    shipped, family = case
    return functools.partial(shipped.batch, family=family)


@pytest.fixture(scope="module", params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def step(
    method: Callable[..., Distillation],
    precision: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Step:
    """The change of all that trains, flat, in two updates on the same batches without dropout.

    Of one update it would be the gradient, times the rate; the second shows what ranks kept apart.
    """
    after = tmp_path_factory.mktemp("step") / "after.pt"

    def run(
        batches: list[list[Batch]],
        execution: Execution | None = None,
        starts: dict[str, Any] | None = None,
        **options: Any,
    ) -> torch.Tensor:
        loop = quiet_trainer(
            accumulate_grad_batches=max(len(batches[0]), 1),
            max_steps=UPDATES,
            callbacks=[Keep(after)],
            **{"precision": precision, **options},
        )
        loop.fit(
            method(execution, **(starts or {})),
            datamodule=Served([window(rank) * UPDATES for rank in batches]),
        )
        return read(after)

    return run


@pytest.fixture(scope="module")
def whole(step: Step, texts: list[Sample], batch_of: Callable[..., Batch]) -> torch.Tensor:
    """The gradient of all texts as one batch on one process."""
    change = step([[batch_of(texts)]])
    assert change.norm() > 1e-6
    return change


@pytest.fixture(scope="module")
def agrees(
    whole: torch.Tensor, case: tuple[Shipped, str], precision: str, equalities: Equalities
) -> Callable[[str, torch.Tensor], None]:
    """Compares a gradient with that of the whole batch, and writes it down."""

    def compare(way: str, change: torch.Tensor) -> None:
        apart = float((whole - change).norm() / whole.norm())
        equalities[case[0].name, case[1], way, precision] = apart
        assert apart < PRECISIONS[precision], way

    return compare


@pytest.fixture(scope="module")
def texts() -> list[Sample]:
    return samples(8, VOCABULARY)


@pytest.fixture(scope="module")
def quarters(texts: list[Sample], batch_of: Callable[..., Batch]) -> list[Batch]:
    """Four uneven micro-batches."""
    return [batch_of(part) for part in (texts[:1], texts[1:3], texts[3:4], texts[4:])]


@pytest.fixture(scope="module")
def parts(
    case: tuple[Shipped, str],
    quarters: list[Batch],
    texts: list[Sample],
    batch_of: Callable[..., Batch],
) -> list[Batch]:
    """The micro-batches of one update; a single one where texts are compared."""
    return [batch_of(texts)] if case[0].couples else quarters


@pytest.fixture(scope="module")
def halves(
    case: tuple[Shipped, str],
    quarters: list[Batch],
    texts: list[Sample],
    batch_of: Callable[..., Batch],
) -> list[list[Batch]]:
    """The micro-batches of two ranks, uneven; one of each where texts are compared."""
    if case[0].couples:
        return [[batch_of(texts[:3])], [batch_of(texts[3:])]]
    return [quarters[:2], quarters[2:]]


Agrees = Callable[[str, torch.Tensor], None]


def test_gradient_depends_on_no_padding_split_or_order(
    agrees: Agrees,
    step: Step,
    texts: list[Sample],
    quarters: list[Batch],
    batch_of: Callable[..., Batch],
    case: tuple[Shipped, str],
) -> None:
    agrees("5 more columns of padding", step([[batch_of(texts, extra=5)]]))
    agrees("texts in reverse", step([[batch_of(texts[::-1])]]))
    if case[0].couples:
        with pytest.raises(UserError, match=r"compares the texts .*accumulate_grad_batches is 4"):
            step([quarters])
        return
    agrees("accumulation over 4", step([quarters]))


@pytest.mark.parametrize("precision", ["64-true"], indirect=True)
def test_gradient_depends_on_no_number_of_ranks(
    agrees: Agrees, step: Step, halves: list[list[Batch]]
) -> None:
    agrees("2 ranks (DDP)", step(halves, strategy="ddp_fork", devices=2))


@pytest.mark.parametrize("precision", ["64-true"], indirect=True)
def test_gradient_depends_on_no_size_of_tiles_and_blocks(
    agrees: Agrees, step: Step, texts: list[Sample], batch_of: Callable[..., Batch]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_pass, "buffers", lambda heads, tile_bytes: buffers(heads, 3000))
        patch.setitem(relations.BLOCK_BYTES, "cpu", 2000)
        agrees("small tiles and blocks", step([[batch_of(texts)]]))


@pytest.mark.parametrize("precision", ["64-true"], indirect=True)
def test_gradient_depends_on_no_padding_of_the_vocabulary(
    agrees: Agrees,
    step: Step,
    texts: list[Sample],
    batch_of: Callable[..., Batch],
    case: tuple[Shipped, str],
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    """The teacher's table has seven more rows, as tables have that are padded to a round size."""
    if case[0].students:
        pytest.skip("its teacher is not listened to")
    if case[0].reads_labels:
        pytest.skip("its outputs are labels, of which there are no more than there are")
    spec = TeacherSpec(str(tiny_models[case[1]]))
    start = case[0].own_start or LayerCopyStudent()
    start.build(spec.build(), 0).model.save_pretrained(tmp_path / "student")
    padded = spec.build().model
    with torch.random.fork_rng():
        size = padded.config.vocab_size
        padded.resize_token_embeddings(size + 7, mean_resizing=False)
        for table in (padded.get_input_embeddings(), padded.get_output_embeddings()):
            table.weight.data[size:].normal_(std=3.0)
    shutil.copytree(tiny_models[case[1]], tmp_path / "teacher")
    padded.save_pretrained(tmp_path / "teacher")
    starts = {
        "teacher": TeacherSpec(str(tmp_path / "teacher")),
        "students": None,
        "student": PretrainedStudent(str(tmp_path / "student")),
    }
    agrees("padded vocabulary", step([[batch_of(texts)]], starts=starts))


def test_a_student_that_is_its_teacher_learns_nothing_from_it(
    method: Callable[..., Distillation],
    texts: list[Sample],
    batch_of: Callable[..., Batch],
    case: tuple[Shipped, str],
) -> None:
    if case[0].couples:
        pytest.skip("its texts teach each other")
    every = LayerCopyStudent(layers=[0, 1, 2, 3])
    several = dict.fromkeys(case[0].students, every) or None
    alone = None if several else every
    equal = method(students=several, student=alone)
    quiet_trainer().fit(equal, datamodule=Served([window([batch_of(texts)])]))
    soft = {
        name: value
        for name, value in equal.logged.items()
        if name.rpartition("/")[2] not in ("mlm", "clm", "hard", "loss", "stage")
    }
    assert bool(soft) == case[0].has_soft_targets
    assert soft == pytest.approx(dict.fromkeys(soft, 0.0), abs=1e-12)


@pytest.mark.parametrize("precision", ["32-true"], indirect=True)
def test_extreme_logits_are_finite(
    step: Step,
    texts: list[Sample],
    batch_of: Callable[..., Batch],
    case: tuple[Shipped, str],
    tiny_models: dict[str, Path],
    tmp_path: Path,
) -> None:
    """Logits of up to 1e4 and, where there is a bias, entries switched off by -inf."""
    shutil.copytree(tiny_models[case[1]], tmp_path / "teacher")
    model = TeacherSpec(str(tmp_path / "teacher")).build().model
    head = model.classifier if case[0].reads_labels else model.get_output_embeddings()
    head.weight.data *= 1e4 / head.weight.norm(dim=1).max()
    off = 0 if head.bias is None or case[0].reads_labels else 3
    if off:
        head.bias.data[-off:] = -torch.inf
    model.save_pretrained(tmp_path / "teacher")
    change = step([[batch_of(texts)]], starts={"teacher": TeacherSpec(str(tmp_path / "teacher"))})
    assert change.isfinite().all()  # what is off stays off


@pytest.mark.rotated(3)  # compiling takes seconds
@pytest.mark.parametrize("precision", ["64-true"], indirect=True)
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_gradient_depends_on_no_way_of_running(
    agrees: Agrees, step: Step, parts: list[Batch]
) -> None:
    torch._dynamo.reset()
    execution = Execution(gradient_checkpointing=True, compile="eager")
    agrees("checkpointed and compiled layers", step([parts], execution))


@pytest.mark.parametrize("precision", ["32-true"], indirect=True)
def test_bf16_is_near(
    step: Step, whole: torch.Tensor, parts: list[Batch], case: tuple[Shipped, str]
) -> None:
    """Half as many digits: a term lost to the cast would show all the same."""
    if case[0].reads_prompts:
        pytest.skip("it writes other texts with half as many digits")
    mixed = step([parts], precision="bf16-mixed")
    assert (whole - mixed).norm() / whole.norm() < 0.03


@pytest.mark.rotated(2)  # two processes
@pytest.mark.parametrize("precision", ["64-true"], indirect=True)
def test_gradient_is_the_same_with_weights_in_pieces(
    method: Callable[..., Distillation],
    agrees: Agrees,
    halves: list[list[Batch]],
    case: tuple[Shipped, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """FSDP2 over two ranks: of a tied embedding, the gradients of both its uses.

    Lightning offers it no float64: models are widened before the split.
    """
    if case[0].by_task:
        pytest.skip("its students share a body; refused in test_multi_task.py")
    monkeypatch.setattr(
        "lit_distill.training.building.shard", lambda model, mesh: shard(model.double(), mesh)
    )
    monkeypatch.setattr(
        "lit_distill.training.building.shard_auxiliary",
        lambda parts, mesh: shard_auxiliary({k: v.double() for k, v in parts.items()}, mesh),
    )

    def work() -> None:
        loop = quiet_trainer(
            accumulate_grad_batches=len(halves[0]),
            max_steps=UPDATES,
            precision="32-true",
            devices=2,
            strategy=ModelParallelStrategy(
                data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo"
            ),
            callbacks=[Keep(tmp_path / "sharded.pt")],
        )
        loop.fit(method(), datamodule=Served([window(batches) * UPDATES for batches in halves]))

    on_two_ranks(work, tmp_path / "log.txt")
    agrees("2 ranks (FSDP2)", read(tmp_path / "sharded.pt"))


def test_a_batch_without_targets_has_a_gradient(
    step: Step, texts: list[Sample], batch_of: Callable[..., Batch]
) -> None:
    """All zero where nothing else counts: a missing gradient would stop distributed training."""
    bare = [Sample(t.number, t.ids, [], [], t.language) for t in texts[:2]]
    assert torch.isfinite(step([[batch_of(bare)]])).all()


@pytest.mark.rotated(4)  # two whole runs and an export
@pytest.mark.parametrize(("shipped", "family"), CASES, ids=IDS)
def test_from_config_to_export(
    shipped: Shipped, family: str, tiny_models: dict[str, Path], tiny_corpus: Path, tmp_path: Path
) -> None:
    """It fits, moves the student and not the teacher, resumes, and exports without the teacher."""
    teacher, run = tmp_path / "teacher", tmp_path / "run"
    models = tiny_models[family]
    shutil.copytree(
        writers.save(family, tmp_path / "writer") if shipped.reads_prompts else models, teacher
    )
    before = load_file(teacher / "model.safetensors")
    fit, own = command(shipped, family, teacher, tiny_corpus, run)
    assert main(fit) == 0
    after = load_file(teacher / "model.safetensors")
    assert all(torch.equal(after[key], value) for key, value in before.items())
    of_several = next(iter(shipped.students), "")
    student = load_file(run / "student-last" / of_several / "model.safetensors")
    query = "bert.encoder.layer.0.attention.self.query.weight"
    carved = "transformer.h.0.attn.c_attn.weight" if family == "gpt2" else query
    own_name = carved.replace("bert.", "electra.", int(shipped.own_start is not None))
    assert not torch.equal(student[own_name], before[carved])
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert not [key for key in saved["state_dict"] if "teacher" in key]
    assert main([*fit, "--trainer.max_steps=4", "--ckpt_path=last"]) == 0
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 4
    shutil.rmtree(teacher)
    assert main(["export", *own, str(run), f"--output={tmp_path / 'out'}"]) == 0
    auto = {"gpt2": AutoModelForCausalLM, "classifier": AutoModelForSequenceClassification}
    _, report = auto.get(family, AutoModelForMaskedLM).from_pretrained(
        tmp_path / "out" / of_several, output_loading_info=True
    )
    assert not report["missing_keys"]


def command(
    shipped: Shipped, family: str, teacher: Path, corpus: Path, run: Path
) -> tuple[list[str], list[str]]:
    """The words of a `fit` from the shipped config, and those that allow a user's own method."""
    own = [] if shipped.is_ours else [f"--allow-module={shipped.method.__module__}"]
    data = "phrasebook_translation" if shipped.reads_prompts else "multilingual_folder"
    data = "labelled_folder" if shipped.reads_labels else data
    data = "phrasebook_mixture" if shipped.by_task else data
    parts = [ROOT / f"configs/{part}.yaml" for part in ("trainer/debug", f"data/{data}")]
    parts.append(CONFIGS[shipped.name])
    options = [f"--model.{knob}={json.dumps(value)}" for knob, value in shipped.knobs.items()]
    if shipped.students:
        start = {"class_path": "LayerCopyStudent", "init_args": {"layers": "every_other"}}
        students = dict.fromkeys(shipped.students, start)
        options.append(f"--model.students={json.dumps(students)}")
    elif shipped.own_start is None:
        parts.append(ROOT / "configs/models/half.yaml")
    if shipped.reads_prompts:
        parts.append(ROOT / "tests/tiny/runs/prompts.yaml")
        options.append(f"--data.cache_dir={run.parent / 'cache'}")
    elif shipped.reads_labels:
        parts.append(labelled_texts(run.parent, [*shipped.students] if shipped.by_task else []))
    else:
        parts.append(corpus)
        if family == "gpt2" and not shipped.reads_plain:
            options.append("--data.objective=NextToken")
    configs = [word for part in parts for word in ("-c", str(part))]
    ends = [f"--model.teacher.name={teacher}", f"--run_dir={run}"]
    if shipped.by_task:
        names = {name: {"name": str(teacher)} for name in shipped.students}
        ends[0] = f"--model.teachers={json.dumps(names)}"
        ends.append(f"--tokenizer={teacher}")
    return ["fit", *own, *configs, *options, *ends], own


def labelled_texts(folder: Path, tasks: list[str]) -> Path:
    """A config file for `configs/data/labelled_folder.yaml`: some labelled texts, of each task."""
    write(folder / "de.jsonl", rows(60, "ein zwei drei vier elf"))
    options = {
        "sources": [{"files": "de.jsonl", "language": "de"}], "data_dir": str(folder),
        "cache_dir": str(folder / "cache"), "max_length": 16, "batch_tokens": 96,
        "updates_per_epoch": 4,
    }  # fmt: skip
    node = {"class_path": "LabelledCorpus", "init_args": options}
    data = {"tasks": dict.fromkeys(tasks, node), "updates_per_epoch": 4} if tasks else options
    (folder / "labelled.yaml").write_text(json.dumps({"data": {"init_args": data}}))
    return folder / "labelled.yaml"
