"""Generation: the same tokens as transformers' own, and what is promised beyond it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel, TopKLogitsWarper, TopPLogitsWarper

from lit_distill.errors import UserError
from lit_distill.models import Execution, Generated, LanguageModel, Sampling, ending_ids, generate
from lit_distill.models.generation.token_draws import choose, uniforms

EOS = (3, 7, 11, 13, 17, 23, 29, 37)
LENGTHS = (3, 9, 1, 6)
GREEDY = Sampling(8, temperature=0)
FREE = Sampling(8, temperature=2, rows_at_once=3)


def prompts(model: LanguageModel, extra: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (4, 9 + extra), padded as this kind of model wants it."""
    draw, width = torch.Generator().manual_seed(1), max(LENGTHS) + extra
    ids, mask = torch.full((len(LENGTHS), width), EOS[0]), torch.zeros(len(LENGTHS), width).long()
    for row, length in enumerate(LENGTHS):
        place = slice(length) if model.reads_pairs else slice(width - length, width)
        ids[row, place] = torch.randint(14, 40, (length,), generator=draw)
        mask[row, place] = 1
    return ids, mask


@pytest.fixture
def writer(causal_family: str, make_model: Callable[..., PreTrainedModel]) -> LanguageModel:
    model = make_model(causal_family)
    if causal_family == "gemma2":  # its attention is in float32: float64's lowest number is NaN
        return LanguageModel(model)
    return LanguageModel(model.double())


@pytest.fixture
def gpt2(make_model: Callable[..., PreTrainedModel]) -> LanguageModel:
    return LanguageModel(make_model("gpt2").double())


def texts(found: Generated) -> list[list[int]]:
    return [row[:length].tolist() for row, length in zip(found.tokens, found.lengths, strict=True)]


def test_greedy_text_is_that_of_transformers(
    causal_family: str, make_model: Callable[..., PreTrainedModel]
) -> None:
    # T5's own caches break down where the decoder has more layers than the encoder.
    depths = {"num_layers": 4} if "t5" in causal_family else {}
    writer = LanguageModel(make_model(causal_family, **depths))
    ids, mask = prompts(writer)
    found = generate(writer, ids, mask, GREEDY, eos=EOS)
    theirs = writer.model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=8,
        eos_token_id=list(EOS), pad_token_id=0, num_beams=1, forced_eos_token_id=None,
    )  # fmt: skip
    theirs = theirs[:, 1 if writer.reads_pairs else ids.shape[1] :]
    assert torch.equal(found.tokens, theirs[:, : found.tokens.shape[1]])
    for row, text in enumerate(texts(found)):
        assert found.ended[row] == (text[-1] in EOS)
        assert len(text) == 8 or found.ended[row]
        assert not set(text[:-1]) & set(EOS)


@pytest.mark.parametrize("sampling", [GREEDY, FREE], ids=["greedy", "sampled"])
def test_rows_without_a_token_are_never_written(gpt2: LanguageModel, sampling: Sampling) -> None:
    """Tables are padded to round sizes; the last 8 rows are the likeliest ones here."""
    with torch.no_grad():
        gpt2.model.get_output_embeddings().weight[32:] *= 5
    ids, mask = prompts(gpt2)
    found = generate(gpt2, ids % 32, mask, sampling, eos=(3,))
    assert found.tokens.max() == 39
    gpt2.tokens = 32
    assert generate(gpt2, ids % 32, mask, sampling, eos=(3,)).tokens.max() <= 31


def test_greedy_text_is_that_of_whole_forwards(writer: LanguageModel) -> None:
    """One text at a time, unpadded, from the start for every token."""
    ids, mask = prompts(writer)
    found = generate(writer, ids, mask, GREEDY, eos=EOS)
    start = [writer.config.decoder_start_token_id] if writer.reads_pairs else []
    for row, text in enumerate(texts(found)):
        prompt, written = ids[row][mask[row].bool()][None], list(start)
        for token in text:
            inputs = {"input_ids": prompt, "decoder_input_ids": torch.tensor([written])}
            if not writer.reads_pairs:
                inputs = {"input_ids": torch.cat([prompt, torch.tensor([written]).long()], 1)}
            with torch.no_grad():
                assert writer.model(**inputs).logits[0, -1].argmax() == token
            written.append(token)


def test_a_text_depends_on_nothing_that_is_written_beside_it(writer: LanguageModel) -> None:
    ids, mask = prompts(writer)
    numbers = torch.tensor([5, 1, 8, 3])
    whole = texts(generate(writer, ids, mask, FREE, 3, numbers, EOS))
    assert len({len(text) for text in whole}) > 1, "no row leaves the batch"
    backwards = generate(writer, ids.flip(0), mask.flip(0), FREE, 3, numbers.flip(0), EOS)
    assert texts(backwards)[::-1] == whole
    wide, wide_mask = prompts(writer, extra=2)
    assert texts(generate(writer, wide, wide_mask, FREE, 3, numbers, EOS)) == whole
    for row in range(len(ids)):
        part = slice(row, row + 1)
        assert texts(generate(writer, ids[part], mask[part], FREE, 3, numbers[part], EOS)) == [
            whole[row]
        ]
    assert texts(generate(writer, ids, mask, FREE, 4, numbers, EOS)) != whole
    assert texts(generate(writer, ids, mask, FREE, 3, numbers + 1, EOS)) != whole


def test_ended_rows_leave_the_batch(gpt2: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, mask = prompts(gpt2)
    sizes: list[int] = []
    body = gpt2.run_body

    def watched(inputs: dict[str, Any], *rest: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        return body(inputs, *rest)

    monkeypatch.setattr(gpt2, "run_body", watched)
    found = generate(gpt2, ids, mask, Sampling(8), 1, eos=range(0, 40, 4))
    lengths = found.lengths.tolist()
    assert sizes == [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert found.tokens.shape[1] == max(lengths)
    assert len(set(sizes)) > 2, sizes


def test_training_goes_on_as_it_was(gpt2: LanguageModel) -> None:
    """Cached under gradient checkpointing, without dropout, and train mode comes back."""
    ids, mask = prompts(gpt2)
    plain = generate(gpt2, ids, mask, FREE, eos=EOS)
    Execution(gradient_checkpointing=True, compile="eager").apply(gpt2)
    gpt2.train()
    widths: list[int] = []
    gpt2.layers[0].register_forward_hook(lambda _, args, __: widths.append(args[0].shape[1]))
    state = torch.get_rng_state()
    found = generate(gpt2, ids, mask, FREE, eos=EOS)
    assert torch.equal(found.tokens, plain.tokens)
    assert torch.equal(state, torch.get_rng_state())
    assert set(widths[1:]) <= {1, *LENGTHS}
    assert widths.count(1) > 4
    assert all(module.training for module in gpt2.modules())
    assert all("forward" in vars(layer) for layer in gpt2.layers)


def test_autocast_weights_are_not_cached_without_a_graph(
    make_model: Callable[..., PreTrainedModel],
) -> None:
    model = LanguageModel(make_model("llama"))
    ids, mask = prompts(model)
    with torch.autocast("cpu", torch.bfloat16):
        generate(model, ids, mask, FREE, eos=EOS)
        model.encode({"input_ids": ids, "attention_mask": mask}).hidden.sum().backward()
    assert model.layers[0].self_attn.q_proj.weight.grad is not None


def test_tokens_come_as_often_as_they_are_likely() -> None:
    logits = torch.randn(1, 600, generator=torch.Generator().manual_seed(0))
    numbers = uniforms(0, torch.arange(20000), 1).squeeze(1)
    drawn = choose(logits.expand(20000, -1), numbers, temperature=0.8)
    expected = (logits[0] / 0.8).softmax(-1).double() * 20000
    counts = torch.bincount(drawn, minlength=600).double()
    likely = expected > 20
    excess = ((counts - expected)[likely] / expected[likely].sqrt()).square().mean()
    assert likely.sum() > 30
    assert 0.5 < excess < 1.6  # 1 for independent draws


@pytest.mark.parametrize(("top_k", "top_p"), [(5, 1.0), (0, 0.6), (7, 0.8), (1, 1.0)])
def test_restrictions_are_those_of_transformers(top_k: int, top_p: float) -> None:
    logits = torch.randn(3, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept = logits
    if top_k:
        kept = TopKLogitsWarper(top_k)(None, kept)
    kept = TopPLogitsWarper(top_p)(None, kept)
    numbers = (torch.arange(3000) + 0.5) / 3000
    for row in range(3):
        drawn = choose(logits[row].expand(3000, -1), numbers, 1.0, top_k, top_p)
        shares = torch.bincount(drawn, minlength=50) / 3000
        torch.testing.assert_close(shares.double(), kept[row].softmax(-1), atol=4e-4, rtol=0)


@pytest.mark.parametrize("number", [0.0, 1.0, 2.0**-54])
def test_no_draw_is_a_token_without_probability(number: float) -> None:
    logits = torch.full((1, 300), -torch.inf)
    logits[0, [3, 270]] = 0.0
    token = choose(logits, torch.tensor([number], dtype=torch.float64), 1.0)
    assert token.item() == (270 if number == 1 else 3)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(
    ("broken", "whole"), [(math.nan, False), (math.nan, True), (math.inf, False), (-math.inf, True)]
)
def test_broken_logits_are_no_token(temperature: float, broken: float, whole: bool) -> None:
    logits = torch.zeros(3, 300)
    logits[1, slice(None) if whole else 7] = broken
    numbers = torch.full((3,), 0.5, dtype=torch.float64)
    with pytest.raises(UserError, match=r"1 of 3 texts cannot be written.*NaN"):
        choose(logits, numbers, temperature)
    assert choose(logits[[0, 2]], numbers[[0, 2]], temperature).shape == (2,)


def test_all_ids_that_end_a_text_are_known(gpt2: LanguageModel) -> None:
    class Tokenizer:
        eos_token_id = 9

    gpt2.model.generation_config.eos_token_id = [4, 5, 400]
    gpt2.model.config.eos_token_id = 2
    assert ending_ids(gpt2, Tokenizer()) == (2, 4, 5, 9)
    for config in (gpt2.model.generation_config, gpt2.model.config):
        config.eos_token_id = None
    with pytest.raises(UserError, match="no text would ever end: set eos_token"):
        ending_ids(gpt2)


def test_what_cannot_work_is_said(
    gpt2: LanguageModel, bert: LanguageModel, make_model: Callable[..., PreTrainedModel]
) -> None:
    ids, mask = prompts(gpt2)
    with pytest.raises(UserError, match=r"9 tokens and 12 new ones make 21.*table holds 20"):
        generate(gpt2, ids, mask, Sampling(12), eos=EOS)
    with pytest.raises(UserError, match="BertForMaskedLM, which fills in masked tokens"):
        generate(bert, ids, mask, FREE, eos=EOS)
    t5 = LanguageModel(make_model("t5", decoder_start_token_id=None))
    with pytest.raises(UserError, match="no decoder_start_token_id"):
        generate(t5, ids, mask, FREE, eos=EOS)


@pytest.mark.parametrize(
    "wrong", [{"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}, {"top_k": -1}]
)
def test_numbers_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"Sampling.{next(iter(wrong))}"):
        Sampling(**wrong)
