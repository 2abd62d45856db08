"""Pseudo-labels: what is written, what is dropped, and that a corpus reads them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import prompted
import pytest
import torch
from lightning.pytorch import Trainer
from sacrebleu.metrics.chrf import CHRF
from tokenizers import Tokenizer
from tokenizers.decoders import Metaspace as MetaspaceDecoder
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Metaspace
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from callbacks import GenerationMetrics
from data_modules import PromptCorpus, PromptSource
from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.models import Generated
from lit_distill.tools.labelling import pseudo_label as tool
from lit_distill.tools.labelling.label_selection import Selection
from lit_distill.tools.labelling.pseudo_label import _text


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Of a corpus of two languages and a random teacher with its tokenizer."""
    for language, offset in (("xx", 0), ("yy", 1000)):
        prompted.write(tmp_path / f"qa.{language}.jsonl", prompted.rows(20, offset))
    teacher = prompted.tokenizer(tmp_path / "teacher")
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64,
                   bos_token_id=1, eos_token_id=2)
    )  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        model.transformer.wte.weight[:2] = 0  # <pad> and <s> are not text
    model.save_pretrained(teacher)
    source = {"files": "qa.{language}.jsonl", "prompt": "{q}", "response": "{a}"}
    data = {"sources": [source], "data_dir": str(tmp_path), "tokenizer": teacher, "max_length": 60}
    config = tmp_path / "data.yaml"
    config.write_text(json.dumps({"data": {"class_path": "PromptCorpus", "init_args": data}}))
    return [
        "pseudo-label", str(tmp_path / "labels.jsonl"), "--config", str(config),
        f"--teacher.name={teacher}", "--sampling.max_new_tokens=9", "--sampling.temperature=1.0",
        "--keep.max_repetition=1",
    ]  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_what_the_teacher_writes_becomes_a_corpus(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--keep.ended=false"]) == 0
    found = lines(tmp_path / "labels.jsonl")
    assert {line["language"] for line in found} == {"xx", "yy"}
    assert {line["prompt"] for line in found} <= {
        row["q"] for offset in (0, 1000) for row in prompted.rows(20, offset)
    }
    assert all(line["response"] and line["sureness"] < 0 <= line["wer"] for line in found)
    printed = capsys.readouterr().out
    assert f"kept {sum(line['language'] == 'xx' for line in found)}" in printed
    data = {"class_path": "PromptCorpus", "init_args": {
        "sources": [{"files": "labels.jsonl", "validation": "labels.validation.jsonl",
                     "language_column": "language"}],
        "data_dir": str(tmp_path), "tokenizer": str(tmp_path / "teacher"),
    }}  # fmt: skip
    (tmp_path / "read.yaml").write_text(json.dumps({"data": data}))
    assert main(["preview", "--config", str(tmp_path / "read.yaml"), "--examples=1"]) == 0
    assert repr(found[0]["response"])[1:-1] in capsys.readouterr().out


def test_held_out_prompts_are_apart_with_their_references(
    options: list[str], tmp_path: Path
) -> None:
    """No answer of the teacher to a held-out prompt is trained on, and none is a reference."""
    assert main([*options, "--keep.ended=false", "--data.holdout=3"]) == 0
    gold = {row["q"]: row["a"] for offset in (0, 1000) for row in prompted.rows(20, offset)}
    held_out = {prompt for prompt in gold if crc32(prompt.encode()) % 3 == 0}
    train = lines(tmp_path / "labels.jsonl")
    assert {line["prompt"] for line in train} == gold.keys() - held_out
    apart = lines(tmp_path / "labels.validation.jsonl")
    assert {line["prompt"] for line in apart} == held_out
    for line in (*train, *apart):
        assert line["reference"] == gold[line["prompt"]] != line["teacher"]
    assert all(line["response"] == line["teacher"] for line in train)
    assert all(line["response"] == line["reference"] for line in apart)
    # What filters drop is still measured.
    more = ["--keep.ended=false", "--data.holdout=3", "--select.best_share=0.5"]
    assert main([*options, *more]) == 0
    assert len(lines(tmp_path / "labels.jsonl")) < len(train)
    assert {line["prompt"] for line in lines(tmp_path / "labels.validation.jsonl")} == held_out


def test_students_are_measured_by_references_and_by_the_teacher(
    options: list[str], tmp_path: Path
) -> None:
    """What `pseudo-label` writes, as documented: validation has the gold, the answers beside it."""
    assert main([*options, "--keep.ended=false", "--data.holdout=3"]) == 0
    place = {"files": "labels.jsonl", "language_column": "language"}
    options_ = {"data_dir": str(tmp_path), "tokenizer": str(tmp_path / "teacher"),
                "max_length": 60, "cache_dir": str(tmp_path / "cache")}  # fmt: skip
    with pytest.raises(UserError, match=r"labels.jsonl holds a teacher's answers .*validation"):
        PromptCorpus([PromptSource(**place)], **options_).texts()
    for given in ("validation", "test"):
        wrong = {"validation": "labels.validation.jsonl", given: "labels.jsonl"}
        with pytest.raises(UserError, match=r"measure students.*or `response: \"{reference}\"`"):
            PromptCorpus([PromptSource(**place, **wrong)], **options_).texts()
    (tmp_path / "packed.jsonl.gz").write_bytes(
        gzip.compress((tmp_path / "labels.jsonl").read_bytes())
    )
    with pytest.raises(UserError, match=r"packed.jsonl.gz holds a teacher's answers"):
        PromptCorpus([PromptSource(**{**place, "files": "packed.jsonl.gz"})], **options_).texts()
    held = PromptSource(**place, validation="labels.validation.jsonl", teacher="{teacher?}")
    corpus = PromptCorpus([held], **options_)
    corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
    corpus.prepare_data()
    corpus.setup("fit")
    batch = corpus.sample_prompts("validation", 100, seed=0)
    known = {line["prompt"]: line for line in lines(tmp_path / "labels.validation.jsonl")}
    answers = corpus.teacher_answers("validation")
    assert len(batch["sample_id"]) == len(known) == len(answers)
    width = batch["input_ids"].shape[1]
    for place_, (number, ids, mask) in enumerate(
        zip(batch["sample_id"].tolist(), batch["prompt_ids"], batch["prompt_mask"], strict=True)
    ):
        prompt = corpus.tokenizer.decode(ids[mask.bool()], skip_special_tokens=True)
        targets = batch["targets"][batch["rows"] // width == place_]
        wanted = corpus.tokenizer.decode(targets, skip_special_tokens=True)
        assert wanted == known[prompt]["reference"]
        assert answers[number] == known[prompt]["teacher"]


@pytest.mark.parametrize("whole", [True, False])
def test_answers_are_read_again_in_the_tokens_of_the_teacher(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, whole: bool,
) -> None:  # fmt: skip
    """The space that an answer begins with is text; where tokens do not come back, it is said."""
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "teacher")
    parts = [" old river"] if whole else list(" old river")
    ids = [i for part in parts for i in tokenizer(part, add_special_tokens=False)["input_ids"]]

    def writes(model: Any, batches: list[Any], *how: Any) -> list[Generated]:
        rows = len(batches[0]["sample_id"])
        made = torch.tensor([[*ids, 2]] * rows)
        return [Generated(made, torch.full((rows,), len(ids) + 1), torch.ones(rows).bool())]

    monkeypatch.setattr(tool, "write", writes)
    assert main(options) == 0
    assert {line["response"] for line in lines(tmp_path / "labels.jsonl")} == {" old river"}
    said = capsys.readouterr().out
    assert ("20 answers will be read in other tokens" in said) == (not whole)


def test_an_answer_keeps_the_space_that_it_begins_with(tmp_path: Path) -> None:
    """As it follows upon a colon; for a SentencePiece tokenizer the mark of its first word."""
    engine = Tokenizer(WordLevel({"<s>": 0, "</s>": 1, "▁is:": 2, "▁seven": 3, "▁": 4}))
    engine.pre_tokenizer, engine.decoder = Metaspace(), MetaspaceDecoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=engine, bos_token="<s>", eos_token="</s>")
    corpus = SimpleNamespace(tokenizer=tokenizer, responses=SimpleNamespace(pairs=False))
    assert _text(corpus, [0, 2], [3]) == " seven"
    corpus.responses.pairs = True
    assert _text(corpus, [0, 2], [3]) == "seven"


def test_prompts_with_control_tokens_say_how_they_are_read(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = [{"files": "qa.{language}.jsonl", "prompt": "<|user|>{q}", "response": "{a}"}]
    changed = [*options, "--keep.ended=false", "--data.sources", json.dumps(source)]
    assert main(changed) == 0
    assert "`rendered: true`" in capsys.readouterr().out
    assert lines(tmp_path / "labels.jsonl")[0]["prompt"].startswith("<|user|>what")


def test_what_cannot_be_written_is_refused_first(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([options[0], "labels.csv", *options[2:]]) == 2
    assert "is written as .jsonl" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"Selection\.min_chrf is nan"):
        Selection(min_chrf=float("nan"))


def test_filters_drop_what_they_say(options: list[str], tmp_path: Path) -> None:
    assert main([*options, "--keep.ended=false"]) == 0
    every = lines(tmp_path / "labels.jsonl")
    middle = sorted(line["chrf"] for line in every)[len(every) // 2]
    assert main([*options, "--keep.ended=false", f"--select.min_chrf={middle}"]) == 0
    assert lines(tmp_path / "labels.jsonl") == [line for line in every if line["chrf"] >= middle]
    wer = sorted(line["wer"] for line in every)[len(every) // 2]
    assert main([*options, "--keep.ended=false", f"--select.max_wer={wer}"]) == 0
    assert lines(tmp_path / "labels.jsonl") == [line for line in every if line["wer"] <= wer]
    assert main([*options, "--keep.ended=false", "--select.best_share=0.25"]) == 0
    best = lines(tmp_path / "labels.jsonl")
    for language in ("xx", "yy"):
        own = sorted(l["sureness"] for l in every if l["language"] == language)  # noqa: E741
        kept = sorted(l["sureness"] for l in best if l["language"] == language)  # noqa: E741
        assert kept == own[-len(kept) :]
        assert len(kept) == -(-len(own) // 4)


def test_a_text_that_may_be_cut_off_is_not_dropped_for_it(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--keep.ended=false", "--keep.max_ratio=1.0"]) == 0
    said = capsys.readouterr().out
    assert ", keep " in said
    assert "not ended" not in said


def test_how_sure_the_teacher_was_is_the_mean_over_its_tokens(
    options: list[str], tmp_path: Path
) -> None:
    assert main([*options, "--sampling.max_new_tokens=1", "--sampling.temperature=0",
                 "--keep.ended=false"]) == 0  # fmt: skip
    model = GPT2LMHeadModel.from_pretrained(tmp_path / "teacher").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "teacher")
    for line in lines(tmp_path / "labels.jsonl")[:5]:
        ids = tokenizer(line["prompt"], return_tensors="pt")["input_ids"]
        with torch.no_grad():
            best = model(ids).logits[0, -1].log_softmax(-1).max().item()
        assert line["sureness"] == pytest.approx(best, abs=1e-4)


def test_nothing_left_is_said_and_the_old_file_stays(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labels.jsonl").write_text('{"answered_by": "old"}')
    assert main([*options, "--keep.ended=false", "--select.min_chrf=100"]) == 2
    assert "No text is left of" in capsys.readouterr().err
    assert (tmp_path / "labels.jsonl").read_text() == '{"answered_by": "old"}'


def test_only_earlier_labels_are_replaced(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what the corpus reads, nor what somebody else wrote, nor folders and links."""
    options = [*options, "--keep.ended=false"]
    labels, apart = tmp_path / "labels.jsonl", tmp_path / "labels.validation.jsonl"
    for _ in range(2):
        assert main(options) == 0
    capsys.readouterr()
    row = json.dumps({"prompt": "mine", "response": "mine"}) + "\n"
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine.jsonl").write_text(row)
    (tmp_path / "broken.jsonl").write_text("{")
    (tmp_path / "list.jsonl").write_text('["answered_by"]')
    (tmp_path / "mixed.jsonl").write_text(labels.read_text("utf-8") + row)
    (tmp_path / "other.validation.jsonl").write_text(row)
    (tmp_path / "answers.xx.jsonl").write_text(
        (tmp_path / "qa.xx.jsonl").read_text("utf-8").replace('{"q"', '{"answered_by": "", "q"')
    )
    more = ["--data.sources=[{files: 'answers.{language}.jsonl', prompt: '{q}', response: '{a}', "
            "validation: 'qa.{language}.jsonl'}]"]  # fmt: skip
    for name, said in {
        "qa.xx.jsonl": "is read by this command",
        "answers.xx.jsonl": "is read by this command",
        "mine.jsonl": "this command did not write it",
        "broken.jsonl": "this command did not write it",
        "list.jsonl": "this command did not write it",
        "mixed.jsonl": "this command did not write it",
        "other.jsonl": "other.validation.jsonl would be replaced",
        "folder.jsonl": "is a folder",
        "link.jsonl": "is a link",
        "file/labels.jsonl": "is a file",
    }.items():
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        own = more if name.startswith("answers") else []
        assert main([*options[:1], str(tmp_path / name), *options[2:], *own]) == 2, name
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
        now = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert now == before, name
    apart.write_text("")  # nothing is lost
    assert main(options) == 0


def test_a_student_of_the_labels_has_both_numbers_in_its_report(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts with references, `pseudo-label`, a fit on its files: both numbers, each named."""
    assert main([*options, "--keep.ended=false", "--data.holdout=3"]) == 0
    teacher = str(tmp_path / "teacher")
    source = {"files": "labels.jsonl", "validation": "labels.validation.jsonl",
              "language_column": "language", "teacher": "{teacher?}"}  # fmt: skip
    data = {
        "sources": [source],
        "data_dir": str(tmp_path),
        "tokenizer": teacher,
        "max_length": 60,
        "batch_tokens": 200,
        "updates_per_epoch": 1,
        "cache_dir": "{run_dir}/cache",
    }
    writing = {"sampling": {"max_new_tokens": 9, "temperature": 0.0}, "least_ended": 0.0}
    config = {
        "run_dir": str(tmp_path / "run"),
        "model": {"class_path": "CausalLM", "init_args": {"student": {
            "class_path": "PretrainedStudent", "init_args": {"name": teacher}}}},
        "data": {"class_path": "PromptCorpus", "init_args": data},
        "trainer": {
            "accelerator": "cpu", "max_steps": 1, "max_epochs": -1, "logger": False,
            "num_sanity_val_steps": 0, "enable_progress_bar": False, "enable_model_summary": False,
            "callbacks": [{"class_path": "GenerationMetrics", "init_args": writing},
                          {"class_path": "ExportStudent"}, {"class_path": "RunCheckpoint"}],
        },
    }  # fmt: skip
    (tmp_path / "fit.yaml").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--config", "fit.yaml"]) == 0
    report = json.loads((tmp_path / "run/report.json").read_text())["texts"]
    scores = report["students"]["student"]
    (path,) = (tmp_path / "run/generations").glob("*.jsonl")
    assert path.stem == f"val-{report['updates']:08}"
    rows, known = lines(path), lines(tmp_path / "labels.validation.jsonl")
    for language in ("xx", "yy"):
        own = [row for row in rows if row["language"] == language]
        texts = [row["students"]["student"]["text"] for row in own]
        by_prompt = {line["prompt"].strip(): line for line in known}
        for metric, column in (("chrf", "reference"), ("chrf_to_teacher", "teacher")):
            wanted = [by_prompt[row["prompt"]][column].strip() for row in own]
            expected = CHRF().corpus_score(texts, [wanted]).score
            assert scores[f"{language}/{metric}"] == pytest.approx(expected)
    assert scores["chrf"] == pytest.approx((scores["xx/chrf"] + scores["yy/chrf"]) / 2)
    assert scores["chrf"] != scores["chrf_to_teacher"]
    content = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    again = GenerationMetrics()
    again.load_state_dict(content["callbacks"][again.state_key])
    assert again.texts == report
