"""Mistakes of users in public threads: `check` names each with its remedy (docs/check.md)."""

from __future__ import annotations

import json
import re
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prompted
import pytest
from architectures import random_model
from checking import Check, decoder
from transformers import AutoTokenizer, LlamaConfig

from lit_distill.cli.preflight import disk

pytestmark = pytest.mark.rotated(4)  # each is a short run
PAGE = Path(__file__).parents[4] / "docs/check.md"
Usage = namedtuple("Usage", ["total", "used", "free"])


@dataclass(frozen=True)
class Place:
    """Where a mistake is made.

    Attributes:
        encoder: the folder of a good BERT.
        writer: the folder of a good GPT-2.
        folder: an empty one.
        patch: undone after the test.
    """

    encoder: Path
    writer: Path
    folder: Path
    patch: pytest.MonkeyPatch


Plant = Callable[[Place], list[str]]
"""Makes the mistake; gives the options with which `check` is called."""


@dataclass(frozen=True)
class Mistake:
    """What somebody did.

    Attributes:
        thread: repository and number.
        plant: makes it.
        prompts: whether on prompts with a decoder, or else on texts with an encoder.
        level: of what `check` says.
        said: an expression that finds it.
    """

    thread: str
    plant: Plant
    prompts: bool
    level: str
    said: str


def padded_vocabulary(place: Place) -> list[str]:
    """Qwen2.5: 151,936 rows of the small models, 152,064 of the large ones."""
    student = decoder(place.folder / "student", vocab_size=320)
    return ["--model.student", "PretrainedStudent", "--model.student.name", str(student)]


def prompts_longer_than_the_window(place: Place) -> list[str]:
    return ["--data.max_length", "16", "--data.max_prompt_length", "3"]


def rendered_and_begun_again(place: Place) -> list[str]:
    """The template's text, tokenised with the tokenizer's beginning token."""
    rows = prompted.rows(200)
    lines = [{"q": f"<s><|user|>{row['q']}<|bot|>", "a": row["a"]} for row in rows]
    prompted.write(place.folder / "rendered.jsonl", lines)
    source = {"files": "rendered.jsonl", "language": "en", "prompt": "{q}", "response": "{a}"}
    sources = json.dumps([{**source, "rendered": True}])
    plain = ["--data.rendering=PlainText", f"--data.sources={sources}"]
    return [*plain, "--data.data_dir", str(place.folder)]


def another_chat(place: Place, chat: str | None) -> list[str]:
    """A teacher with that chat template; the run's tokenizer keeps its own."""
    without = shutil.ignore_patterns("*.jinja")
    shutil.copytree(place.writer, place.folder / "teacher", ignore=without)
    tokenizer = AutoTokenizer.from_pretrained(place.writer)
    tokenizer.chat_template = chat
    tokenizer.save_pretrained(place.folder / "teacher")
    name = ["--model.teacher.name", str(place.folder / "teacher")]
    return name + ([] if chat is None else ["--tokenizer", str(place.writer)])


def t5_in_half(place: Place) -> list[str]:
    folder = Path(prompted.tokenizer(place.folder / "t5", chat=None))
    size = len(AutoTokenizer.from_pretrained(folder))
    random_model("t5", vocab_size=size, pad_token_id=0).save_pretrained(folder)
    return [
        *("--model.teacher.name", str(folder), "--trainer.precision", "16-mixed"),
        *("--data.layout", "pairs", "--data.rendering=PlainText"),
    ]


def large_teacher(place: Place) -> list[str]:
    """A config alone: weights are not even there."""
    shape = {"hidden_size": 65536, "num_hidden_layers": 80, "intermediate_size": 262144}
    LlamaConfig(**shape, architectures=["LlamaForCausalLM"]).save_pretrained(place.folder / "large")
    return ["--model.teacher.name", str(place.folder / "large"), "--tokenizer", str(place.encoder)]


def lower_cased(place: Place) -> list[str]:
    """`do_lower_case=True`, as in the tokenizer of the encoder, beside a model of capitals."""
    cased = place.folder / "cased"
    shutil.copytree(place.encoder, cased)
    AutoTokenizer.from_pretrained(cased, do_lower_case=False).save_pretrained(cased)
    student = ["--model.student", "PretrainedStudent", "--model.student.name", str(cased)]
    alone = ["-c", "methods/masked_lm", "--model.teacher", "null"]
    return [*alone, *student, "--tokenizer", str(place.encoder)]


def measured_on_training_texts(place: Place) -> list[str]:
    lines = "\n".join(f"the river runs past {number} old houses" for number in range(60))
    (place.folder / "en.txt").write_text(lines)
    source = '[{"language": "en", "files": "en.txt", "validation": "en.txt"}]'
    return ["--data.data_dir", str(place.folder), f"--data.sources={source}"]


def adapters_of_llama(place: Place) -> list[str]:
    return [
        "--model.student.surgeries=[{class_path: LoRA, init_args: {targets: [q_proj, v_proj]}}]"
    ]


def full_disk(place: Place) -> list[str]:
    place.patch.setattr(disk.shutil, "disk_usage", lambda folder: Usage(1 << 30, 1 << 30, 1 << 10))
    return []


def given(*options: str) -> Plant:
    """A mistake that is typed."""
    return lambda place: [*options]


MISTAKES = {
    "the teacher's vocabulary is padded to another size": Mistake(
        "huggingface/trl#3028", padded_vocabulary, True, "note", r"rows \(student 320, teacher"
    ),
    "prompts are longer than the window, so that no answer is left": Mistake(
        *("huggingface/trl#5662", prompts_longer_than_the_window, True, "error"),
        r"No train text for en.* too long.*max_length .*max_prompt_length",
    ),
    "rendered prompts get a second beginning token": Mistake(
        *("deepseek-ai/DeepSeek-R1#151", rendered_and_begun_again, True, "warning"),
        r"begin with '<s>' twice \(en\).*Leave '<s>' out",
    ),
    "the chat template ends turns with a token at which nothing stops": Mistake(
        *("unslothai/unsloth#416", given("--data.stop_tokens=[]"), True, "warning"),
        r"ends an answer with '<\|stop\|>', .*--data.stop_tokens",
    ),
    "a base model has no chat template": Mistake(
        *("huggingface/open-r1#85", lambda place: another_chat(place, None), True, "error"),
        r"has no chat template: use the rendering PlainText",
    ),
    "teacher and student have other chat templates": Mistake(
        "Arc-Computer/ATLAS#45",
        lambda place: another_chat(place, prompted.CHAT.replace("<|user|>", "User: ")),
        *(True, "warning", r"A text of en is '<s><\|user\|>.* and '<s>User: .*--tokenizer"),
    ),
    "T5 in float16": Mistake(
        *("huggingface/transformers#14189", t5_in_half, True, "warning"),
        r"leave float16, .* student \(t5\), teacher \(t5\).*bf16-mixed",
    ),
    "weights in bfloat16 alone, which small steps do not move": Mistake(
        *("vllm-project/speculators#765", given("--trainer.precision", "bf16-true"), False),
        *("warning", r"weights are in bfloat16, .*rounded away.*bf16-mixed"),
    ),
    "a teacher that does not fit beside its student": Mistake(
        *("arcee-ai/DistillKit#4", large_teacher, False, "error"),
        r"Weights of teachers take .*large.*they do not fit.*bfloat16 .*cache-teacher",
    ),
    "a tokenizer that lower-cases for a model that knows capitals": Mistake(
        *("huggingface/transformers#981", lower_cased, False, "warning"),
        r"normaliser is .*--tokenizer",
    ),
    "validation texts are those of training": Mistake(
        *("OpenRLHF/OpenRLHF#1089", measured_on_training_texts, False, "error"),
        r"No train text for en\. .*all of it is in its other splits.* 60 in other splits",
    ),
    "adapters on modules that the model does not have": Mistake(
        *("OptimalScale/LMFlow#125", adapters_of_llama, False, "error"),
        r"has no linear module 'q_proj' in its body: it has .*query",
    ),
    "a disk that is full at the first checkpoint": Mistake(
        *("mlfoundations/open_lm#154", full_disk, False, "error"),
        r"take up to .*1 KiB left.*--run_dir",
    ),
    "a warm-up that is longer than the run": Mistake(
        *("Morizeyao/GPT2-Chinese#60", given("--model.schedule.warmup", "2000"), False, "error"),
        r"warmup.*2000.*share of all updates",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_of_a_public_thread_is_named_with_its_remedy(
    mistake: Mistake, check: Check, check_prompts: Check, teacher: Path, writer: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    (tmp_path / "planted").mkdir()
    options = mistake.plant(Place(teacher, writer, tmp_path / "planted", monkeypatch))
    found = (check_prompts if mistake.prompts else check)(*options)
    texts = {f"{one['text']} {one['remedy']}".strip(): one["level"] for one in found["findings"]}
    named = [its for text, its in texts.items() if re.search(mistake.said, text)]
    assert mistake.level in named, texts
    codes = {"error": 2, "warning": 1, "note": 0}
    assert found["code"] == max(codes[its] for its in texts.values())


def test_the_page_lists_each_of_them_with_its_thread() -> None:
    rows: dict[str, Any] = dict(
        re.findall(r"^\| ([^|]+) \| \[([^\]]+)\]", PAGE.read_text("utf-8"), re.M)
    )
    assert rows == {name: one.thread for name, one in MISTAKES.items()}
