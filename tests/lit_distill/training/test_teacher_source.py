"""Training from a teacher cache: the same losses, no teacher, and refusals by name."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from safetensors.torch import load_file

import lit_distill.models.teachers.teacher
from data_modules import MaskedTokens, MultilingualCorpus, Source
from lit_distill.__main__ import main
from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.methods import MaskedLM, TripleLoss
from lit_distill.models import (
    CachedOutputs,
    FreshStudent,
    LanguageModel,
    LayerCopyStudent,
    PretrainedStudent,
    Student,
    TeacherCache,
    TeacherSpec,
)
from lit_distill.schedules import Constant
from lit_distill.tools.caching.cache_teacher import CacheOptions, cache_teacher

V = 120
Make = Callable[..., MultilingualCorpus]


@pytest.fixture(scope="module")
def make(tiny_bert: Path, text_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds the corpus of these tests."""
    tokens = tmp_path_factory.mktemp("tokens")

    def corpus(**options: Any) -> MultilingualCorpus:
        return MultilingualCorpus(
            [Source(files=["{language}.txt"])],
            **{
                "data_dir": str(text_folder),
                "tokenizer": str(tiny_bert),
                "max_length": 16,
                "batch_tokens": 512,
                "updates_per_epoch": 4,
                "validation_windows": 5,
                "mask_variants": 2,
                "cache_dir": str(tokens),
                **options,
            },
        )

    return corpus


@pytest.fixture(scope="module")
def write(
    make: Make, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Writes a cache, once for the same options."""
    made: dict[str, str] = {}

    def run(**options: Any) -> str:
        key = repr(options)
        if key not in made:
            folder = str(tmp_path_factory.mktemp("cache") / "cache")
            chosen = CacheOptions(**{"k": 16, "temperature": 2.0, "shard_tokens": 4000, **options})
            cache_teacher(folder, TeacherSpec(str(tiny_bert)), make(), chosen)
            made[key] = folder
        return made[key]

    run()  # before a test forbids it
    return run


@pytest.fixture
def method(tiny_bert: Path) -> Callable[..., TripleLoss]:
    """TripleLoss on logits at masked positions, with plain SGD."""

    def build(**options: Any) -> TripleLoss:
        return TripleLoss(
            **{
                "teacher": TeacherSpec(str(tiny_bert)),
                "student": LayerCopyStudent(num_layers=2),
                "alpha_cos": 0.0,
                "restrict_kd_to_mask": True,
                "dropout": 0.0,
                "optimizer": lambda groups: torch.optim.SGD(groups, lr=0.05),
                "schedule": Constant(warmup=0.0),
                **options,
            }
        )

    return build


def fit(
    module: TripleLoss, data: MultilingualCorpus, tmp_path: Path, ckpt_path: Any = None, **more: Any
) -> Trainer:
    options = {"max_steps": 4, "max_epochs": -1, "limit_val_batches": 0, **more}
    torch.manual_seed(0)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        default_root_dir=tmp_path,
        **options,
    )
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def weights(module: TripleLoss) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.student.parameters()])


STUDENTS: dict[str, Callable[[Path], Student]] = {
    "carved": lambda folder: LayerCopyStudent(num_layers=2),
    "random": lambda folder: FreshStudent(config={"num_hidden_layers": 1}),
    "the teacher": lambda folder: PretrainedStudent(str(folder)),
}


@pytest.mark.parametrize("tail", ["bucket", "uniform"])
@pytest.mark.parametrize("student", STUDENTS)
def test_every_loss_is_within_twice_the_reported_error(
    student: str,
    tail: str,
    write: Callable[..., str],
    make: Make,
    tiny_bert: Path,
    method: Callable[..., TripleLoss],
) -> None:
    """Fifty batches on the same weights; both losses have the factor T squared."""
    cache, corpus = TeacherCache(Path(write(tail=tail))), make(batch_tokens=128)
    corpus.setup("fit")
    corpus.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    torch.manual_seed(0)
    module = method(teacher_cache="unused", student=STUDENTS[student](tiny_bert))
    teacher = module.teacher_specs["teacher"].build()
    module.students["student"] = module.student_specs["student"].build(teacher, 0)
    module.teachers["teacher"] = teacher
    error = (cache.manifest.error or {})["all"]["mean"]
    batches = iter(corpus.train_dataloader())
    differences = []
    for _ in range(50):
        batch = next(batches, None) or next(batches := iter(corpus.train_dataloader()))
        with torch.no_grad():
            module.cache = None
            live = module.losses(batch)["kd"].sum
            module.cache = cache
            cached = module.losses(cache.read(batch))["kd"].sum
        differences.append(((cached - live).abs() / len(batch["rows"]) / 2.0**2).item())
    assert max(differences) <= 2 * error
    if student == "random":  # and the error that is reported is not an idle one
        assert max(differences) > 0.2 * error


def test_with_all_tokens_a_run_ends_where_the_live_one_does(
    write: Callable[..., str], make: Make, method: Callable[..., TripleLoss], tmp_path: Path
) -> None:
    """Over an epoch and more, with accumulation and a process that loads."""
    more = {"accumulate_grad_batches": 2, "max_steps": 9}
    start = method()
    fit(start, make(), tmp_path, max_steps=0)
    live, cached = method(), method(teacher_cache=write(k=V))
    fit(live, make(), tmp_path, **more)
    fit(cached, make(num_workers=1), tmp_path, **more)
    moved = weights(live) - weights(start)
    assert moved.norm() > 0.01
    assert (weights(cached) - weights(live)).norm() < 1e-3 * moved.norm()
    assert cached.logged["kd"] == pytest.approx(live.logged["kd"], abs=1e-4)


def test_states_come_from_the_cache_too(
    write: Callable[..., str], make: Make, method: Callable[..., TripleLoss], tmp_path: Path
) -> None:
    options = {"alpha_cos": 1.0, "restrict_kd_to_mask": False}
    live = method(**options)
    cached = method(teacher_cache=write(k=V, positions="tokens", states=True), **options)
    for module in (live, cached):
        fit(module, make(), tmp_path)
    assert cached.logged == pytest.approx(live.logged, rel=1e-3, abs=1e-4)


@pytest.fixture
def no_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """No weights of a teacher can be opened."""

    def refuse(*_: Any) -> None:
        raise AssertionError("a teacher was opened")

    monkeypatch.setattr(lit_distill.models.teachers.teacher, "open_model", refuse)


def test_without_a_live_teacher_no_weights_are_opened(
    write: Callable[..., str],
    make: Make,
    method: Callable[..., TripleLoss],
    tiny_bert: Path,
    tmp_path: Path,
    no_teacher: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = method(teacher=None, student=PretrainedStudent(str(tiny_bert)), teacher_cache=write())
    with caplog.at_level(logging.INFO):
        fit(module, make(), tmp_path, limit_val_batches=1, val_check_interval=2)
    assert "agreement is left out" in caplog.text
    assert not module.teachers
    for scores in module.measurements["student"].languages.values():
        assert scores["loss"] > 0
        assert scores["agreement"] is None


def test_a_live_teacher_is_compared_with_and_not_run_in_training(
    write: Callable[..., str],
    make: Make,
    method: Callable[..., TripleLoss],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, encode = method(teacher_cache=write()), LanguageModel.encode
    ran: list[tuple[bool, bool]] = []

    def spy(self: LanguageModel, *args: Any, **options: Any) -> Any:
        ran.append((self is module.teacher, module.trainer.training))
        return encode(self, *args, **options)

    monkeypatch.setattr(LanguageModel, "encode", spy)
    fit(module, make(), tmp_path, limit_val_batches=1, val_check_interval=2)
    measured = module.measurements["student"].languages
    assert all(scores["agreement"] is not None for scores in measured.values())
    assert (True, False) in ran
    assert (False, True) in ran
    assert (True, True) not in ran


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"seed": 3}, r"seed: 0 in the cache, 3 now; masks: '\w+' in the cache"),
        ({"mask_variants": 3}, "mask_variants: 2 in the cache, 3 now"),
        ({"mask_variants": None}, "mask_variants: 2 in the cache, None now"),
        ({"objective": MaskedTokens(probability=0.3)}, r"objective: .*0\.15.* in the cache"),
        ({"max_length": 12}, r"corpus: '\w+' in the cache, '\w+' now; windows: "),
    ],
)
def test_another_text_or_other_masks_are_refused_by_name(
    changed: dict[str, Any],
    named: str,
    write: Callable[..., str],
    make: Make,
    method: Callable[..., TripleLoss],
    tmp_path: Path,
    no_teacher: None,
) -> None:
    with pytest.raises(UserError, match=f"was not made for this run: .*{named}"):
        fit(method(teacher_cache=write()), make(**changed), tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperature": 1.0}, "temperature: 2.0 in the cache, 1.0 now"),
        ({"restrict_kd_to_mask": False}, "positions: 'rows' in the cache, 'tokens' now"),
        ({"alpha_mse": 1.0}, r"LogitMSE\(\) needs the teacher's logits"),
        ({"alpha_cos": 1.0}, "compares hidden states .* has none"),
    ],
)
def test_losses_that_the_cache_cannot_feed_are_refused_by_name(
    options: dict[str, Any],
    named: str,
    write: Callable[..., str],
    make: Make,
    method: Callable[..., TripleLoss],
    tmp_path: Path,
) -> None:
    module = method(teacher_cache=write(), **options)
    with pytest.raises(UserError, match=named):
        fit(module, make(), tmp_path)
    assert module.global_step == 0


def test_other_models_are_refused_by_name(
    write: Callable[..., str],
    make: Make,
    method: Callable[..., TripleLoss],
    tiny_bert: Path,
    tmp_path: Path,
) -> None:
    other = TeacherSpec(str(tiny_bert)).build()
    with torch.no_grad():
        next(other.parameters()).add_(1.0)
    folder = tmp_path / "other"
    other.model.save_pretrained(folder)
    spec = TeacherSpec(str(folder), tokenizer=str(tiny_bert))
    with pytest.raises(UserError, match=r"teacher: '\w+' in the cache, '\w+' now"):
        fit(method(teacher_cache=write(), teacher=spec), make(), tmp_path)
    larger = FreshStudent("bert", {"vocab_size": V + 8, "hidden_size": 12, "num_hidden_layers": 1})
    module = method(teacher_cache=write(), teacher=None, student=larger)
    with pytest.raises(UserError, match="vocab_size: 120 in the cache, 128 now"):
        fit(module, make(), tmp_path)


def test_a_cache_of_another_tokenizer_is_refused_by_name(
    write: Callable[..., str],
    make: Make,
    method: Callable[..., TripleLoss],
    tiny_bert: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "tokenizer"
    tokenizer = make().tokenizer
    tokenizer.save_pretrained(folder)
    content = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (folder / "tokenizer.json").write_text(json.dumps(content), "utf-8")
    module = method(teacher=None, student=PretrainedStudent(str(tiny_bert)), teacher_cache=write())
    with pytest.raises(UserError, match=r"tokenizer: '\w+' in the cache, '\w+' now"):
        fit(module, make(tokenizer=str(folder)), tmp_path)


def test_a_run_goes_on_from_its_own_cache_only(
    write: Callable[..., str], make: Make, method: Callable[..., TripleLoss], tmp_path: Path
) -> None:
    first = method(teacher_cache=write())
    fit(first, make(), tmp_path, max_steps=2).save_checkpoint(tmp_path / "two.ckpt")
    saved = torch.load(tmp_path / "two.ckpt", weights_only=True)["lit_distill"]
    assert saved["teacher_cache"]["fingerprint"] == TeacherCache(Path(write())).manifest.fingerprint
    whole, resumed = method(teacher_cache=write()), method(teacher_cache=write())
    fit(whole, make(), tmp_path)
    fit(resumed, make(), tmp_path, tmp_path / "two.ckpt")
    assert weights(resumed).equal(weights(whole))
    for other in ({"teacher_cache": write(k=8)}, {}):
        with pytest.raises(UserError, match=r"was trained from the teacher cache .* for"):
            fit(method(**other), make(), tmp_path, tmp_path / "two.ckpt")


def test_a_cache_needs_a_corpus_that_can_be_named(
    write: Callable[..., str], method: Callable[..., TripleLoss], make: Make
) -> None:
    class Bare:
        tokenizer = make().tokenizer

    module = method(teacher_cache=write())
    module.__dict__["_trainer"] = type("T", (), {"datamodule": Bare()})()
    with pytest.raises(UserError, match="Bare does not say what decides on its texts"):
        module.open_cache("fit")


def test_a_method_that_reads_no_cache_refuses_one() -> None:
    with pytest.raises(UserError, match="MaskedLM reads nothing that a teacher cache holds"):
        MaskedLM(teacher_cache="somewhere")


def test_rows_among_all_positions_are_found(write: Callable[..., str], make: Make) -> None:
    cache, corpus = TeacherCache(Path(write(positions="tokens"))), make()
    corpus.setup("fit")
    corpus.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    batch: Batch = cache.read(next(iter(corpus.train_dataloader())))
    taught = CachedOutputs(cache, batch)
    every, some = taught.signal(batch["tokens"]), taught.signal(batch["rows"])
    where = [batch["tokens"].tolist().index(row) for row in batch["rows"].tolist()]
    assert some.ids.equal(every.ids[where])


def test_from_the_command_line_to_an_export(
    folder: Path, tiny_bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tokenizer comes with the cache."""
    config = ["-c", "exp.yaml", "--data.mask_variants=2", "--data.cache_dir=tokens"]
    cached = ["--model.restrict_kd_to_mask=true", "--model.alpha_cos=0"]
    assert main(["cache-teacher", *config, "--output=cache", "--cache.k=16"]) == 0
    student = {"class_path": "FreshStudent", "init_args": {
        "model_type": "bert", "config": {"hidden_size": 8, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 16, "pad_token_id": 0}}}  # fmt: skip
    cached += ["--model.teacher_cache=cache", f"--model.student={json.dumps(student)}"]
    assert main(["fit", *config, *cached, "--model.teacher=null", "--run_dir=run"]) == 0
    assert main(["export", "run", "--output=student"]) == 0
    assert load_file("student/model.safetensors")
    assert main(["fit", *config, *cached, "--model.teacher_cache=nowhere"]) == 2
    assert "no teacher cache in nowhere" in capsys.readouterr().err
