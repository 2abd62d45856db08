"""What models write behind prompts: right, shared, on time, per language, without any effect."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prompted
import pytest
import torch
from batches import Served, collate, samples
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from sacrebleu.metrics.chrf import CHRF
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from callbacks import GenerationMetrics, SampleText
from callbacks.reports.boards import markdown
from callbacks.written_text import continuations
from callbacks.written_text.generation_metrics import shown
from callbacks.written_text.sample_text import table
from callbacks.written_text.teacher_answers import means, nearness
from callbacks.written_text.text_scores import Scored, scores
from data_modules import PromptCorpus, PromptSource
from lit_distill.errors import UserError
from lit_distill.methods import CausalLM, MaskedLM, SupervisedKD
from lit_distill.models import (
    FreshStudent,
    PretrainedStudent,
    Sampling,
    TeacherSpec,
    load_tokenizer,
)

GREEDY = Sampling(max_new_tokens=6, temperature=0.0)
WIDTH = 96
ENDING = 5.4
"""Pull towards the EOS token: with it some texts end and some are cut."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two languages of prompts, a GPT-2 and a T5 with their tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

    place = tmp_path_factory.mktemp("continued")
    for language, offset in (("xx", 0), ("yy", 1000)):
        prompted.write(place / f"qa.{language}.jsonl", prompted.rows(60, offset))
    gpt2, t5 = place / "gpt2", place / "t5"
    for name in (gpt2, t5):
        prompted.tokenizer(name)
    torch.manual_seed(0)
    size = len(load_tokenizer(str(gpt2)))
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    decoder = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_positions=WIDTH, n_embd=16, n_layer=2, n_head=2, **ends)
    )
    pair = T5ForConditionalGeneration(
        T5Config(vocab_size=size, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
                 pad_token_id=0, eos_token_id=2)
    )  # fmt: skip
    pair.config.decoder_start_token_id = 0
    for model, name in ((decoder, gpt2), (pair, t5)):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
            if model is decoder:  # some texts end
                ending = model.transformer.wte.weight[2]
                model.transformer.ln_f.bias.add_(ENDING * ending / ending.norm())
        model.save_pretrained(name)
    return place


Run = Callable[..., tuple[Trainer, Any]]


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Run:
    def fit(*callbacks: Any, taught: bool = True, kind: str = "gpt2", steps: int = 4,
            **options: Any) -> tuple[Trainer, Any]:  # fmt: skip
        seed_everything(1, verbose=False)
        name = str(folder / kind)
        start = PretrainedStudent(name)
        module: Any = CausalLM(student=start)
        if taught:
            module = SupervisedKD(student=start, teacher=TeacherSpec(name))
        source = PromptSource(files="qa.{language}.jsonl", prompt="{q}", response="{a}")
        data = PromptCorpus(
            [source], str(folder), layout="decoder" if kind == "gpt2" else "pairs", tokenizer=name,
            max_length=64, batch_tokens=256, updates_per_epoch=2, holdout=4,
            cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        settings: dict[str, Any] = {
            "accelerator": "cpu", "max_steps": steps, "callbacks": list(callbacks),
            "logger": [TensorBoardLogger(tmp_path, name="tensorboard", version=""),
                       CSVLogger(tmp_path, name="csv", version="")],
            "default_root_dir": tmp_path, "enable_checkpointing": False, "log_every_n_steps": 1,
            "enable_progress_bar": False, "enable_model_summary": False,
        }  # fmt: skip
        trainer = Trainer(**{**settings, **options})
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The student ended")
            trainer.fit(module, datamodule=data)
        return trainer, module

    return fit


def by_hand(model: Any, prompt: list[int], source: bool) -> list[int]:
    """The likeliest tokens one by one, without any cache, padding or batch."""
    written: list[int] = []
    while len(written) < 6 and 2 not in written:
        if source:
            read = {"input_ids": [prompt], "decoder_input_ids": [[0, *written]]}
        else:
            read = {"input_ids": [[*prompt, *written]]}
        logits = model(**{name: torch.tensor(ids) for name, ids in read.items()}).logits
        written.append(int(logits[0, -1].argmax()))
    return written


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_texts_and_metrics_equal_those_by_hand(run: Run, kind: str, tmp_path: Path) -> None:
    _, module = run(GenerationMetrics(sampling=GREEDY, max_prompts=5), kind=kind)
    lines = (tmp_path / "generations" / "val-00000004.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["language"] for row in rows] == ["xx"] * 5 + ["yy"] * 5
    tokenizer, student = module.tokenizer, module.student.model.eval()
    by_language: dict[str, list[Scored]] = {"xx": [], "yy": []}
    questions = {row["q"]: row["a"] for n in (0, 1000) for row in prompted.rows(60, n)}
    with torch.no_grad():
        for row in rows:
            assert row["reference"] == questions[row["prompt"]]
            tokens = by_hand(student, tokenizer(row["prompt"])["input_ids"], kind == "t5")
            found = row["students"]["student"]
            assert found["tokens"] == tokens
            assert found["ended"] == (2 in tokens)
            assert found["text"] == tokenizer.decode(tokens, skip_special_tokens=True).strip()
            bare = [token for token in tokens if token != 2]
            by_language[row["language"]].append(
                Scored(found["text"], row["reference"], bare, found["ended"])
            )
            first = row["teachers"]["teacher"]
            teacher = module.teacher.model
            assert first["tokens"] == by_hand(
                teacher, tokenizer(row["prompt"])["input_ids"], kind == "t5"
            )
    if kind == "gpt2":
        ended = [own.ended for texts in by_language.values() for own in texts]
        assert any(ended)
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        logged = [row for row in csv.DictReader(file) if row.get("val/chrf")][-1]
    expected = {language: scores(own) for language, own in by_language.items()}
    for name in ("exact_match", "chrf", "rouge_l", "length", "eos_rate", "distinct_2"):
        values = [getattr(expected[language], name) for language in ("xx", "yy")]
        for language, value in zip(("xx", "yy"), values, strict=True):
            assert float(logged[f"val/{language}/{name}"]) == pytest.approx(value, rel=1e-5)
        assert float(logged[f"val/{name}"]) == pytest.approx(sum(values) / 2, rel=1e-5)
    near = []
    for language in ("xx", "yy"):
        own = [row for row in rows if row["language"] == language]
        texts = [row["students"]["student"]["text"] for row in own]
        answers = [row["teachers"]["teacher"]["text"] for row in own]
        near.append(CHRF().corpus_score(texts, [answers]).score)
        assert float(logged[f"val/{language}/chrf_to_teacher"]) == pytest.approx(near[-1], rel=1e-5)
    assert float(logged["val/chrf_to_teacher"]) == pytest.approx(sum(near) / 2, rel=1e-5)


def test_validate_always_looks_and_says_no_step(run: Run, tmp_path: Path) -> None:
    trainer, module = run(GenerationMetrics(sampling=GREEDY, max_prompts=3, every=5))
    folder = tmp_path / "generations"
    last = (folder / "val-00000002.jsonl").read_text("utf-8")
    assert [path.name for path in folder.iterdir()] == ["val-00000002.jsonl"]
    trainer.validate(module, datamodule=trainer.datamodule, verbose=False)
    assert (folder / "val.jsonl").read_text("utf-8") != last  # two updates later
    assert len(list(folder.iterdir())) == 2


def test_reports_share_what_is_written_and_the_teacher_writes_once(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = []
    real = continuations.generate

    def counted(model: Any, *given: Any) -> Any:
        calls.append(model)
        return real(model, *given)

    monkeypatch.setattr(continuations, "generate", counted)
    same = {"sampling": GREEDY, "max_prompts": 3}
    _, module = run(SampleText(**same), GenerationMetrics(**same), logger=False)
    assert [model is module.teacher for model in calls] == [False, True, False]
    calls.clear()
    run(SampleText(**same), GenerationMetrics(sampling=GREEDY, max_prompts=4), logger=False)
    assert len(calls) == 6  # other prompts are written apart
    calls.clear()
    run(SampleText(every=2, **same), steps=6, taught=False, logger=False)
    assert len(calls) == 2  # of three validations


def test_the_panel_of_texts(run: Run, tmp_path: Path) -> None:
    run(SampleText(texts=2, characters=40, sampling=GREEDY, max_prompts=3))
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"tensors": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["tensors"] if "continuations" in tag]
    assert sorted(tags) == [f"val/continuations/{one}/text_summary" for one in ("xx", "yy")]
    event = events.Tensors(tags[0])[-1]
    lines = event.tensor_proto.string_val[0].decode().splitlines()
    assert lines[0] == "| prompt | wanted | student | teacher |"
    assert len(lines) == 2 + 2
    assert all("plus" in line for line in lines[2:])
    texts = tmp_path / "csv/texts/val/continuations"
    assert sorted(path.name for path in texts.iterdir()) == ["xx", "yy"]
    assert (texts / "xx/00000004.md").read_text("utf-8").splitlines() == lines


def test_texts_that_were_cut_or_are_markup() -> None:
    written = continuations.Written("<b> a|b", [1, 2], ended=False)
    row = continuations.Continued("xx", 3, "p" * 9, None, {"student": written}, {})
    assert markdown(*table([row], 5)).splitlines()[2] == r"| ppppp … | (nothing) | &lt;b&gt; a … |"


def test_both_numbers_are_shown_and_named() -> None:
    """A student that learnt a teacher's answers is near to them, and far from the references."""
    own = continuations.Written("der alte Fluss", [1, 2, 3], ended=True)
    one = continuations.Continued("xx", 3, "p", "el viejo rio", {"student": own}, {}, " der alte ")
    bare = continuations.Continued("yy", 4, "p", "der alte Fluss", {"student": own}, {})
    near = nearness("student", [one, bare])
    assert near.keys() == {"xx"}
    assert near["xx"]["exact_match_to_teacher"] == 0
    expected = CHRF().corpus_score(["der alte Fluss"], [["der alte"]]).score
    assert near["xx"]["chrf_to_teacher"] == pytest.approx(expected)
    assert means(near, "val")["val/chrf_to_teacher"] == pytest.approx(expected)
    found = {c.language: scores([Scored(own.text, c.reference, [1], True)]) for c in (one, bare)}
    lines = shown("t", {"student": found}, {"student": near}).splitlines()
    assert sum(line.rstrip().endswith("chrF to teacher") for line in lines) == 1
    xx, yy = (line.split() for line in lines if " xx " in line or " yy " in line)
    assert (float(xx[3]), float(xx[-1])) == (round(found["xx"].chrf or 0, 1), round(expected, 1))
    assert len(yy) == len(xx) - 1  # no answer is known
    live = continuations.Continued("xx", 3, "p", None, {"student": own}, {"large": own}, " other ")
    assert nearness("student", [live])["xx"]["exact_match_to_large"] == 1


def test_looking_changes_nothing(run: Run) -> None:
    """Drawing text takes nothing from the random numbers of dropout, and modes come back."""
    _, bare = run(logger=False)
    sampled = Sampling(max_new_tokens=6, temperature=1.0)
    looking = GenerationMetrics(sampling=sampled, max_prompts=3), SampleText(sampling=sampled)
    _, seen = run(*looking)
    for one, other in zip(bare.student.parameters(), seen.student.parameters(), strict=True):
        assert torch.equal(one, other)


def test_two_ranks_write_the_same_and_one_of_them_saves(run: Run, tmp_path: Path) -> None:
    metrics = {"sampling": GREEDY, "max_prompts": 3}
    run(GenerationMetrics(**metrics), accumulate_grad_batches=2, logger=False)
    alone = (tmp_path / "generations" / "val-00000004.jsonl").read_text("utf-8")
    (tmp_path / "generations" / "val-00000004.jsonl").unlink()
    two = {"strategy": "ddp_fork", "devices": 2, "logger": False}
    run(GenerationMetrics(**metrics), SampleText(**metrics), **two)
    assert (tmp_path / "generations" / "val-00000004.jsonl").read_text("utf-8") == alone


def test_a_student_that_never_ends_is_warned_of(run: Run, folder: Path, tmp_path: Path) -> None:
    class Endless(GenerationMetrics):
        """Its texts never end."""

        def report(self, trainer: Any, module: Any, continued: Any, stage: str) -> None:
            for one in continued:
                for name, own in one.students.items():
                    one.students[name] = continuations.Written(own.text, own.tokens, ended=False)
            with pytest.warns(UserWarning, match=r"student ended 0 of 6 texts \(0\.0%\) within 6"):
                super().report(trainer, module, continued, stage)
            seen.append(trainer.global_step)

    seen: list[int] = []
    run(Endless(sampling=GREEDY, max_prompts=3))
    assert seen == [2, 4]  # not while validation is tried out


def test_what_cannot_be_written_is_refused_before_training(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the student's position table holds 96"):
        run(SampleText(sampling=Sampling(max_new_tokens=90), max_prompts=2))
    with pytest.raises(UserError, match=r"SampleText.every is 0"):
        SampleText(every=0)
    assert not list(tmp_path.glob("generations/*"))


def test_texts_without_prompts_are_passed_over(tiny_bert: Path, tmp_path: Path) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 32, "max_position_embeddings": 32}  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[GenerationMetrics(), SampleText()],
        default_root_dir=tmp_path, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    batches = [collate(samples(4, 100))]
    data = Served([batches], batches, load_tokenizer(str(tiny_bert)))
    trainer.fit(MaskedLM(student=FreshStudent("bert", shape)), datamodule=data)
    assert not (tmp_path / "generations").exists()


def test_a_resumed_run_keeps_the_rhythm() -> None:
    first = SampleText(every=3)
    first._validations = 2
    second = SampleText(every=3)
    second.load_state_dict(first.state_dict())
    assert second._validations == 2
