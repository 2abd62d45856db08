from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import Head
from lit_distill.models import Execution, LanguageModel, Site

SITES = [Site(kind, i) for kind in ("hidden", "query", "key", "value") for i in (0, 2, 3)]


def widen(model: LanguageModel) -> float:
    """Goes to float64 where the model can; how exact sums are then."""
    if model.config.model_type == "gemma2":  # its own attention takes softmaxes in float32
        return 1e-4
    model.double()
    return 1e-12


def model_inputs(batch: Batch) -> dict[str, Tensor]:
    return {key: value for key, value in batch.items() if key != "tokens"}  # type: ignore[misc]


LAYERS = {
    "bert": "bert.encoder.layer",
    "distilbert": "distilbert.transformer.layer",
    "roberta": "roberta.encoder.layer",
    "xlm-roberta": "roberta.encoder.layer",
    "electra": "electra.encoder.layer",
    "albert": "albert.encoder.albert_layer_groups",
    "gpt2": "transformer.h",
    "t5": "decoder.block",
    "mt5": "decoder.block",
    "bart": "model.decoder.layers",
    "marian": "model.decoder.layers",
    "mbart": "model.decoder.layers",
    "m2m_100": "model.decoder.layers",
}
INSIDE = {
    "bert": "attention.self.{}",
    "distilbert": "attention.{}_lin",
    "roberta": "attention.self.{}",
    "xlm-roberta": "attention.self.{}",
    "modernbert": "attn.Wqkv",
    "electra": "attention.self.{}",
    "albert": "albert_layers.0.attention.{}",
    "gpt2": "attn.c_attn",
    "t5": "layer.0.SelfAttention.{}",
    "mt5": "layer.0.SelfAttention.{}",
}


def site_output(model: LanguageModel, site: Site, seen: dict[str, Tensor]) -> Tensor:
    """What hooks by name saw at a site; written out, on purpose not through the anatomy."""
    family = model.config.model_type
    path = f"{LAYERS.get(family, 'model.layers')}.{site.layer}"
    if site.encoder:
        path = path.replace("decoder", "encoder")
    if site.kind == "hidden":
        return seen[path]
    whole = ("bert" in family and family != "distilbert") or family == "electra"
    word = site.kind if whole else site.kind[0]
    output = seen[f"{path}.{INSIDE.get(family, 'self_attn.{}_proj').format(word)}"]
    if family in ("modernbert", "gpt2"):
        start = 16 * ["query", "key", "value"].index(site.kind)
        return output[..., start : start + 16]
    return output


def by_depth(name: str, run: int) -> str:
    """The name of a module by the depth it runs at: ALBERT's two groups run twice each."""
    found = re.search(r"albert_layer_groups\.(\d)", name)
    if found is None:
        return name
    depth = 2 * int(found[1]) + run - 1
    return name.replace(found[0], f"albert_layer_groups.{depth}")


def seen_by_hooks(model: LanguageModel, batch: Batch) -> dict[str, Tensor]:
    """The outputs of all modules in a forward of the model itself, by name."""
    seen: dict[str, Tensor] = {}
    runs = Counter[str]()

    def keep(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, Tensor):
                runs[name] += 1
                seen[by_depth(name, runs[name])] = first.clone()

        return hook

    handles = [m.register_forward_hook(keep(name)) for name, m in model.model.named_modules()]
    model.model(**model_inputs(batch), use_cache=False) if model.anatomy.causal else model.model(
        **model_inputs(batch)
    )
    for handle in handles:
        handle.remove()
    return seen


def hook_count(model: LanguageModel) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def logits_of(head: Head) -> Tensor:
    logits = torch.nn.functional.linear(head.rows, head.weight, head.bias)
    return logits if head.cap is None else torch.tanh(logits / head.cap) * head.cap


@torch.no_grad()
def test_logits_are_the_models_own_exactly(model: LanguageModel, batch: Batch):
    own = model.model(**model_inputs(batch)).logits.flatten(0, 1)
    encoded = model.encode(batch)
    every = torch.arange(len(own))
    assert torch.equal(model.logits(encoded.rows(every)), own)
    some = batch["tokens"][[0, 3, 8, 11, 20]]
    assert torch.equal(model.logits(encoded.rows(some)), own[some])
    by_head = model.with_lm_head(logits_of, encoded.rows(some))
    assert torch.equal(by_head, own[some])
    assert model.outputs == own.shape[1] == model.vocab_size == 40
    assert model.hidden_size == encoded.hidden.shape[-1] == 16
    side = "decoder_attention_mask" if model.reads_pairs else "attention_mask"
    assert torch.equal(encoded.mask, batch[side])  # type: ignore[literal-required]


def test_encode_runs_neither_head_nor_pooler_and_keeps_nothing_unasked(
    model: LanguageModel, batch: Batch
):
    model.config.output_hidden_states = True  # as a saved config may say
    seen: list[Any] = []
    body = model.model.get_submodule("decoder" if "t5" in model.config.model_type else "")
    body = model.model.base_model if body is model.model else body
    body.register_forward_hook(lambda *call: seen.append(call[2]))
    model.anatomy.lm_head(model.model).register_forward_hook(lambda *call: pytest.fail("head ran"))
    assert model.encode(batch).captured == {}
    assert seen[0].get("hidden_states") is None
    assert seen[0].get("decoder_hidden_states") is None
    assert seen[0].get("pooler_output") is None


@torch.no_grad()
def test_captures_equal_hooks_written_by_hand(model: LanguageModel, batch: Batch):
    seen = seen_by_hooks(model, batch)
    sites = SITES
    if model.reads_pairs:
        sites = SITES + [Site(site.kind, site.layer - 1, encoder=True) for site in SITES[1::3]]
    captured = model.encode(batch, capture=sites).captured
    assert list(captured) == sites
    for site in sites:
        assert torch.equal(captured[site], site_output(model, site, seen)), site
        assert captured[site].shape[:2] == (3, 4 if site.encoder else 9)


@torch.no_grad()
def test_early_stop_equals_the_full_forward_and_runs_no_later_layer(
    model: LanguageModel, batch: Batch
):
    seen = seen_by_hooks(model, batch)
    full = model.encode(batch).hidden
    ran: list[int] = []
    for number, layer in enumerate(model.layers):
        layer.register_forward_hook(lambda *call, number=number: ran.append(number))
    for last_layer in range(4):
        ran.clear()
        if model.anatomy.layer_order is not None:  # ALBERT's may run again above: all run
            break
        stopped = model.encode(batch, last_layer=last_layer, capture=[Site("query", last_layer)])
        assert torch.equal(stopped.hidden, site_output(model, Site("hidden", last_layer), seen))
        assert list(stopped.captured) == [Site("query", last_layer)]
        assert ran == list(range(last_layer + 1))
    ran.clear()
    assert torch.equal(model.encode(batch).hidden, full)
    assert set(ran) == {0, 1, 2, 3}


def test_hooks_and_layers_are_as_before_after_a_forward_and_after_an_exception(
    model: LanguageModel, batch: Batch
):
    layers, hooks, names = model.layers, hook_count(model), list(model.state_dict())
    model.encode(batch, capture=SITES[:2], last_layer=2)
    assert hook_count(model) == hooks
    key = "decoder_input_ids" if model.reads_pairs else "input_ids"
    broken: Any = {**batch, key: batch[key] + 1000}  # type: ignore[literal-required]
    with pytest.raises(IndexError):
        model.encode(broken, capture=SITES, last_layer=3)

    def fail(*call: Any) -> None:
        raise OSError("in the middle")

    handle = layers[1].register_forward_hook(fail)
    with pytest.raises(OSError, match="in the middle"):
        model.encode(batch, capture=[Site("key", 0)], last_layer=2)
    handle.remove()
    assert hook_count(model) == hooks
    assert list(model.layers) == list(layers)
    assert list(model.state_dict()) == names
    assert model.encode(batch, capture=[Site("key", 0)]).captured.keys() == {Site("key", 0)}


@torch.no_grad()
def test_padding_changes_nothing(model: LanguageModel, make_batch: Callable[..., Any]):
    exact = widen(model)
    narrow, wide = make_batch(model), make_batch(model, width=14)
    assert len(wide["tokens"]) == len(narrow["tokens"])
    site = Site("key", 3)
    a, b = model.encode(narrow, capture=[site]), model.encode(wide, capture=[site])
    rows, wide_rows = a.rows(narrow["tokens"]), b.rows(wide["tokens"])
    torch.testing.assert_close(wide_rows, rows, rtol=0, atol=exact)
    keys = a.captured[site].flatten(0, 1)[narrow["tokens"]]
    wide_keys = b.captured[site].flatten(0, 1)[wide["tokens"]]
    torch.testing.assert_close(wide_keys, keys, rtol=0, atol=exact)


@torch.no_grad()
def test_packed_rows_equal_padded_rows(model: LanguageModel, make_batch: Callable[..., Any]):
    if model.reads_pairs:
        with pytest.raises(UserError, match=r"not supported for encoder-decoders"):
            model.encode({**make_batch(model), "segments": torch.ones(3, 9, dtype=torch.long)})
        return
    exact = widen(model)
    padded = make_batch(model, (9, 5), 9)
    ids = padded["input_ids"]
    pad = torch.full((1, 2), model.config.pad_token_id or 0)
    packed: Batch = {
        "input_ids": torch.cat([ids[:1], ids[1:, :5], pad], 1),
        "attention_mask": torch.tensor([[1] * 14 + [0] * 2]),
        "position_ids": torch.tensor([[*range(9), *range(5), 0, 1]]),
        "segments": torch.tensor([[1] * 9 + [2] * 5 + [0] * 2]),
    }
    apart = model.encode(padded).rows(padded["tokens"])
    for implementation in ("sdpa", "eager"):  # Gemma 2, whose attention is capped, has no other
        if model.config.model_type != "gemma2":
            model.model.set_attn_implementation(implementation)
        if implementation == "eager":  # most decoders' own takes softmaxes in float32
            exact = 1e-4
        encoded = model.encode(packed)
        assert encoded.hidden.isfinite().all()
        together = encoded.rows(torch.arange(14))
        torch.testing.assert_close(together, apart, rtol=0, atol=exact)


def test_packed_rows_are_refused_where_their_borders_would_be_ignored(
    bert: LanguageModel, make_batch: Callable[..., Any]
):
    bert.config._attn_implementation = "flash_attention_2"
    batch: Batch = {**make_batch(bert), "segments": torch.ones(3, 9, dtype=torch.long)}
    with pytest.raises(UserError, match=r"attn_implementation='sdpa' or 'eager'.*'flash"):
        bert.encode(batch)


@torch.no_grad()
def test_positions_and_token_types_and_views_reach_the_model(model: LanguageModel, batch: Batch):
    plain = model.encode(batch).rows(batch["tokens"])
    views: Any = {f"tgt_{key}": value for key, value in batch.items()}
    views |= {"input_ids": batch["input_ids"].flip(0)}
    viewed = model.encode(views, view="tgt_")
    assert torch.equal(viewed.rows(batch["tokens"]), plain)
    if model.reads_pairs:
        assert torch.equal(viewed.mask, batch["decoder_attention_mask"])
        return
    assert torch.equal(viewed.mask, batch["attention_mask"])
    positions = torch.arange(9).expand(3, 9)
    given: Batch = {**batch, "position_ids": positions}
    assert torch.equal(model.encode(given).rows(batch["tokens"]), plain)
    given["position_ids"] = positions * 2
    assert not torch.allclose(model.encode(given).rows(batch["tokens"]), plain)
    types: Any = {**batch, "token_type_ids": torch.ones(3, 9, dtype=torch.long)}
    changed = model.encode(types).rows(batch["tokens"])
    if "token_type_ids" in model.anatomy.inputs:
        own = model.model(**model_inputs(batch), token_type_ids=types["token_type_ids"]).logits
        assert torch.equal(model.logits(changed), own.flatten(0, 1)[batch["tokens"]])
    else:
        assert torch.equal(changed, plain)


def test_gradients_through_the_head_are_the_models_own(model: LanguageModel, batch: Batch):
    exact = widen(model)
    rows = batch["tokens"][::2]
    upstream = torch.randn(len(rows), 40, dtype=next(model.parameters()).dtype)
    own = model.model(**model_inputs(batch)).logits.flatten(0, 1)[rows]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad((own * upstream).sum(), trained)
    ours = model.with_lm_head(logits_of, model.encode(batch).rows(rows))
    actual = torch.autograd.grad((ours * upstream).sum(), trained)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=exact)


def test_tied_weights_get_the_gradients_of_both_uses(model: LanguageModel, batch: Batch):
    embedding = model.model.get_input_embeddings().weight
    if not model.config.tie_word_embeddings:
        assert model.anatomy.lm_head(model.model).weight is not embedding
        return
    assert model.anatomy.lm_head(model.model).weight is embedding
    rows = batch["tokens"]

    def gradient(cut_body: bool, cut_head: bool) -> Tensor:
        hidden = model.encode(batch).rows(rows)
        loss = model.with_lm_head(
            lambda head: (head.rows @ (head.weight.detach() if cut_head else head.weight).T).sin(),
            hidden.detach() if cut_body else hidden,
        ).sum()
        return torch.autograd.grad(loss, embedding)[0]

    of_head, of_body = gradient(True, False), gradient(False, True)
    assert of_head.norm() > 0
    assert of_body.norm() > 0
    torch.testing.assert_close(gradient(False, False), of_head + of_body, rtol=1e-4, atol=1e-4)


def captured_loss(model: LanguageModel, batch: Batch, sites: list[Site]) -> Tensor:
    encoded = model.encode(batch, capture=sites, last_layer=2)
    return torch.stack([value.sin().sum() for value in encoded.captured.values()]).sum()


def test_captures_are_right_under_gradient_checkpointing(model: LanguageModel, batch: Batch):
    sites = [Site("query", 1), Site("value", 2), Site("hidden", 1)]
    exact = widen(model)
    model.set_dropout(0.0)  # so that train mode changes nothing but checkpointing
    model.train()
    if not model.model.supports_gradient_checkpointing:  # ALBERT
        with pytest.raises(UserError, match=r"AlbertForMaskedLM has no gradient checkpointing"):
            Execution(gradient_checkpointing=True).apply(model)
        return
    plain = captured_loss(model, batch, sites)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    expected = torch.autograd.grad(plain, trained, allow_unused=True)
    model.model.activation_checkpointing_enable()
    encoded = model.encode(batch, capture=sites, last_layer=2)
    before = {site: value.detach().clone() for site, value in encoded.captured.items()}
    loss = torch.stack([value.sin().sum() for value in encoded.captured.values()]).sum()
    actual = torch.autograd.grad(loss, trained, allow_unused=True)
    torch.testing.assert_close(loss, plain, rtol=0, atol=exact)
    for a, b in zip(actual, expected, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=0, atol=exact)
    # The recomputation in backward must not have replaced what was captured.
    assert all(torch.equal(encoded.captured[site], before[site]) for site in sites)


def test_reentrant_checkpointing_is_refused_where_it_loses_gradients(
    model: LanguageModel, make_batch: Callable[..., Any]
):
    batch = make_batch(model)
    model.train()
    if not model.model.supports_gradient_checkpointing:
        pytest.skip("ALBERT has no gradient checkpointing.")
    model.model.activation_checkpointing_enable({"use_reentrant": True})
    with pytest.raises(UserError, match=r"query of layer 1 has no gradient.*use_reentrant=False"):
        model.encode(batch, capture=[Site("query", 1)])
    with torch.no_grad():  # a teacher needs none
        assert model.eval().encode(batch, capture=[Site("query", 1)]).captured


def test_layers_that_do_not_run_are_refused_with_numbers(
    bert: LanguageModel, make_batch: Callable[..., Any]
):
    batch = make_batch(bert)
    with pytest.raises(UserError, match=r"last_layer=4: BertForMaskedLM has 4 layers, .* 0 to 3"):
        bert.encode(batch, last_layer=4)
    with pytest.raises(UserError, match=r"last_layer=-1"):
        bert.encode(batch, last_layer=-1)
    with pytest.raises(UserError, match=r"query of layer 4 .* layers 0 to 3 of 4"):
        bert.encode(batch, capture=[Site("query", 4)])
    with pytest.raises(UserError, match=r"hidden of layer 2 .* layers 0 to 1 of 4"):
        bert.encode(batch, capture=[Site("hidden", 2)], last_layer=1)


def test_a_replaced_decoder_is_used(bert: LanguageModel):
    smaller = torch.nn.Linear(16, 7, bias=False)
    bert.model.set_output_embeddings(smaller)
    rows = torch.randn(2, 16)
    assert (bert.outputs, bert.vocab_size) == (7, 40)
    assert bert.logits(rows).shape == (2, 7)
    assert bert.with_lm_head(lambda head: head.bias, rows) is None


def test_it_holds_the_model_and_does_not_copy_it(make_model: Callable[..., Any]):
    model = make_model("bert")
    wrapped = LanguageModel(model)
    assert wrapped.model is model
    assert wrapped.config is model.config
    assert [name for name, _ in wrapped.named_children()] == ["model"]


@pytest.mark.parametrize("family", ["m2m_100"])
def test_training_drops_no_whole_layer(
    make_model: Callable[..., Any], make_batch: Callable[..., Batch], family: str
) -> None:
    """Of M2M-100, which was trained so: every state is there, and every layer has a gradient."""
    model = LanguageModel(make_model(family, encoder_layerdrop=0.9, decoder_layerdrop=0.9)).train()
    model.set_dropout(0.0)
    batch = make_batch(model)
    sites = [Site("hidden", 3), Site("query", 0), Site("hidden", 2, encoder=True)]
    encoded = model.encode(batch, capture=sites)
    assert torch.equal(encoded.hidden, model.eval().encode(batch).hidden)
    assert encoded.captured.keys() == set(sites)
    assert model.config.encoder_layerdrop == 0.9
