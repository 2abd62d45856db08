"""Targets that begin with the code of their language: written, trained on, remembered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import translators
from lightning.pytorch import Trainer

from data_modules import PhrasebookTranslation
from lit_distill.__main__ import main
from lit_distill.batch import PromptBatch
from lit_distill.errors import UserError
from lit_distill.models import (
    LanguageModel,
    ReplayBuffer,
    Sampling,
    TeacherSpec,
    load_tokenizer,
    with_missing_responses,
    with_written_responses,
    write,
)
from lit_distill.models.generation.continuation import prompts_without_response
from lit_distill.models.generation.generation import Generated

GREEDY = Sampling(max_new_tokens=8, temperature=0.0)


@pytest.fixture(scope="module", params=["nllb", "mbart", "mbart50"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return translators.save(kind, tmp_path_factory.mktemp("translator"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return TeacherSpec(str(folder)).build()


@pytest.fixture(scope="module")
def batch(folder: Path, kind: str, tmp_path_factory: pytest.TempPathFactory) -> PromptBatch:
    """Sentences to be translated into German and Spanish, one in two with its translation."""
    corpus = PhrasebookTranslation(
        source="en", targets=["de", "es"], prompt="{text}", layout="pairs", max_length=150,
        sentences_per_language=30, validation_sentences=4, labelled_share=0.5,
        language_codes=translators.codes(kind), tokenizer=str(folder),
        decoder_start="{code}" if kind == "mbart" else "</s>",
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )  # fmt: skip
    corpus.trainer = Trainer(accelerator="cpu", logger=False, max_steps=1)
    corpus.prepare_data()
    corpus.setup("fit")
    windows = np.concatenate([np.flatnonzero(corpus.train.language == n)[:5] for n in (0, 1)])
    made: PromptBatch = corpus.collator()(windows, np.zeros_like(windows))
    assert {*made["labelled"].tolist()} == {0, 1}
    return made


def own_generate(model: LanguageModel, batch: PromptBatch, row: int, kind: str) -> list[int]:
    """Transformers' text for one row, without what it was begun with."""
    ids = batch["prompt_ids"][row][batch["prompt_mask"][row] == 1].unsqueeze(0)
    code = int(batch["target_starts"][row, -1])
    begin: dict[str, Any] = {"forced_bos_token_id": code}
    if kind == "mbart":  # as its own example has it
        begin = {"decoder_start_token_id": code, "forced_bos_token_id": None}
    length = GREEDY.max_new_tokens + (kind != "mbart")
    made = model.model.generate(
        ids, do_sample=False, num_beams=1, max_new_tokens=length, **begin, pad_token_id=1
    )
    return [int(token) for token in made[0, batch["target_starts"].shape[1] :]]


def test_text_is_that_of_transformers_with_a_forced_first_token(
    model: LanguageModel, batch: PromptBatch, kind: str
) -> None:
    """For every row its own language: written together as alone."""
    model.model.generation_config.forced_eos_token_id = None
    (written,) = write(model, [batch], GREEDY, 0, [2])
    texts = []
    for row, length in enumerate(written.lengths.tolist()):
        texts.append(written.tokens[row, :length].tolist())
        assert texts[-1] == own_generate(model, batch, row, kind), row
    assert len({*map(tuple, texts)}) > 1
    assert batch["target_starts"].unique(dim=0).shape[0] == 2
    other = PromptBatch(**{**batch, "target_starts": batch["target_starts"].flip(0)})
    (swapped,) = write(model, [other], GREEDY, 0, [2])
    assert not torch.equal(swapped.tokens, written.tokens)  # the code is heard


def test_written_text_is_trained_on_behind_its_code(
    model: LanguageModel, batch: PromptBatch
) -> None:
    """The rows predict, by Transformers' forward, what greedy text says."""
    (written,) = write(model, [batch], GREEDY, 0, [2])
    made = with_written_responses(batch, written, model)
    width, begun = made["decoder_input_ids"].shape[1], batch["target_starts"]
    assert torch.equal(made["decoder_input_ids"][:, : begun.shape[1]], begun)
    states = model.encode(made)
    likeliest = model.logits(states.rows(made["rows"])).argmax(1)
    assert torch.equal(likeliest, made["targets"])
    assert len(made["rows"]) == int(written.lengths.sum()) == made["counts"]["rows"]
    inputs = ("input_ids", "attention_mask", "decoder_input_ids", "decoder_attention_mask")
    theirs = model.model(**{name: made[name] for name in inputs}).logits  # type: ignore[literal-required]
    assert torch.allclose(
        theirs.flatten(0, 1)[made["rows"]], model.logits(states.rows(made["rows"])), atol=1e-5
    )
    first = begun.shape[1] - 1
    starts = {int(row) % width for row in made["rows"].tolist()}
    assert min(starts) == first


def test_the_datas_responses_come_back_as_they_were(
    model: LanguageModel, batch: PromptBatch
) -> None:
    prompts = prompts_without_response(batch)
    assert torch.equal(prompts["target_starts"], batch["target_starts"][batch["labelled"] == 0])
    (written,) = write(model, [prompts], GREEDY, 0, [2])
    made = with_missing_responses(batch, written, model)
    for row in batch["labelled"].nonzero().squeeze(1).tolist():
        for name in ("decoder_input_ids", "decoder_attention_mask"):
            old, new = batch[name][row], made[name][row]  # type: ignore[literal-required]
            length = int(batch["decoder_attention_mask"][row].sum())
            assert torch.equal(old[:length], new[:length])
            assert int(made["decoder_attention_mask"][row].sum()) == length
        assert torch.equal(targets(batch, row), targets(made, row))


def targets(batch: PromptBatch, row: int) -> torch.Tensor:
    return batch["targets"][batch["rows"] // batch["decoder_input_ids"].shape[1] == row]


def test_a_replayed_text_keeps_its_start(model: LanguageModel, batch: PromptBatch) -> None:
    (written,) = write(model, [batch], GREEDY, 0, [2])
    buffer = ReplayBuffer(len(written.lengths))
    buffer.add([batch], [written])
    again = ReplayBuffer(len(buffer))
    again.load(buffer.state())
    asked, drawn = again.draw(batch, 0, 1, left=False)
    known = {int(n): start for n, start in zip(batch["sample_id"], batch["target_starts"],
                                               strict=True)}  # fmt: skip
    for number, start in zip(asked["sample_id"].tolist(), asked["target_starts"], strict=True):
        assert torch.equal(start, known[number])
    made = with_written_responses(asked, drawn, model)
    begun = asked["target_starts"]
    assert torch.equal(made["decoder_input_ids"][:, : begun.shape[1]], begun)


@pytest.mark.parametrize("kind", ["nllb"], scope="module")
def test_a_buffer_of_the_first_release_is_read(batch: PromptBatch, kind: str) -> None:
    """Whose texts had no start."""
    plain = PromptBatch(**{name: batch[name] for name in  # type: ignore[literal-required]
                           ("prompt_ids", "prompt_mask", "sample_id", "language")})  # fmt: skip
    size = len(batch["sample_id"])
    written = Generated(
        torch.arange(size).unsqueeze(1),
        torch.ones(size, dtype=torch.int64),
        torch.ones(size) > 0,
    )
    buffer = ReplayBuffer(99)
    buffer.add([plain], [written])
    state = buffer.state()
    again = ReplayBuffer(99)
    again.load({**state, "numbers": state["numbers"][:, :5]})
    assert [text[:3] for text in again.texts] == [text[:3] for text in buffer.texts]
    for one, other in zip(again.texts, buffer.texts, strict=True):
        assert torch.equal(one.continuation, other.continuation)
    asked, _ = again.draw(PromptBatch(**plain, counts={}), 0, 1, left=False)
    assert "target_starts" not in asked


@pytest.mark.parametrize("kind", ["mbart"], scope="module")
def test_the_code_takes_a_place_of_the_position_table(
    model: LanguageModel, batch: PromptBatch, kind: str
) -> None:
    longest = Sampling(max_new_tokens=model.max_length, temperature=0.0)
    begun = batch["target_starts"].repeat(1, 2)
    with pytest.raises(UserError, match="position table holds 160"):
        write(model, [PromptBatch(**{**batch, "target_starts": begun})], longest, 0, [2])


@pytest.mark.parametrize("kind", ["nllb"], scope="module")
def test_a_student_learns_the_texts_of_its_teacher_and_opens_in_transformers(
    folder: Path, kind: str, tmp_path: Path
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(RUN.format(folder=folder, cache=tmp_path / "cache"))
    main(["fit", "-c", "configs/methods/sequence_kd.yaml", "-c", str(config),
          "--run_dir", str(tmp_path / "run")])  # fmt: skip
    from transformers import AutoModelForSeq2SeqLM

    student = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "run" / "student")
    own = load_tokenizer(str(tmp_path / "run" / "student"))
    assert len(student.model.decoder.layers) == 1
    assert len(student.model.encoder.layers) == 2
    code = own.convert_tokens_to_ids("deu_Latn")
    read = own("the river", return_tensors="pt")
    assert read["input_ids"][0, 0] == own.convert_tokens_to_ids("eng_Latn")
    made = student.generate(**read, forced_bos_token_id=code, max_new_tokens=5)
    assert made[0, :2].tolist() == [2, code]


RUN = """
trainer: {{accelerator: cpu, max_steps: 2, val_check_interval: 2, limit_val_batches: 1,
          num_sanity_val_steps: 0, log_every_n_steps: 1, precision: 32-true}}
data:
  class_path: PhrasebookTranslation
  init_args:
    source: en
    targets: [de, es]
    prompt: "{{text}}"
    layout: pairs
    language_codes: {{en: eng_Latn, de: deu_Latn, es: spa_Latn}}
    decoder_start: </s>
    sentences_per_language: 40
    validation_sentences: 4
    max_length: 150
    batch_tokens: 600
    updates_per_epoch: 2
    cache_dir: {cache}
model:
  init_args:
    teacher: {{name: {folder}}}
    student: {{class_path: LayerCopyStudent, init_args: {{num_layers: 1}}}}
    keep: {{ended: false, max_repetition: 1.0}}
    sampling: {{max_new_tokens: 6, temperature: 1.0}}
"""
