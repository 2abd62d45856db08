"""`LanguageModel.forward`, the one door: weights of somebody else, and a body of another length."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from transformers import HubertConfig, HubertModel, PreTrainedModel

from lit_distill.batch import Batch
from lit_distill.models import Anatomy, LanguageModel, Site


def others(model: LanguageModel) -> dict[str, Tensor]:
    """Other values for all parameters, that want gradients; tied ones stay so."""
    torch.manual_seed(5)
    return {
        name: (value.detach() + 0.1 * torch.randn_like(value)).requires_grad_()
        for name, value in model.named_parameters()
    }


def test_a_call_with_other_weights_is_that_of_a_model_with_them(
    model: LanguageModel, batch: Batch
) -> None:
    exact = 1e-4
    if model.config.model_type != "gemma2":  # whose own attention takes softmaxes in float32
        model.double()
        exact = 1e-12
    weights, own = others(model), {name: p.clone() for name, p in model.named_parameters()}
    other = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            parameter.copy_(weights[name])
    trained = [name for name, parameter in other.named_parameters() if parameter.requires_grad]
    rows, site = batch["tokens"][::2], Site("query", 1)

    def loss(states: Tensor, captured: Tensor, logits: Tensor) -> Tensor:
        return states.sin().sum() + captured.sin().sum() + logits.sin().sum()

    theirs = other.encode(batch, capture=[site])
    wanted = other.logits(theirs.rows(rows))
    expected = loss(theirs.hidden, theirs.captured[site], wanted)
    ours = functional_call(model, weights, (LanguageModel.encode, batch), {"capture": [site]})
    logits = functional_call(model, weights, (LanguageModel.logits, ours.rows(rows)))
    torch.testing.assert_close(ours.hidden, theirs.hidden, rtol=0, atol=exact)
    torch.testing.assert_close(logits, wanted, rtol=0, atol=exact)
    slopes = torch.autograd.grad(
        loss(ours.hidden, ours.captured[site], logits), [weights[name] for name in trained]
    )
    named = dict(other.named_parameters())
    should = torch.autograd.grad(expected, [named[name] for name in trained])
    for name, one, two in zip(trained, slopes, should, strict=True):
        torch.testing.assert_close(one, two, rtol=exact, atol=exact, msg=name)
    assert all(torch.equal(own[name], value) for name, value in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_every_reading_of_weights_goes_through_the_door(
    make_model: Callable[..., PreTrainedModel], make_batch: Callable[..., Batch]
) -> None:
    """What wraps a module's call sees all that is computed."""
    model = LanguageModel(make_model("t5"))
    batch, inside = make_batch(model), list[bool]()
    model.register_forward_pre_hook(lambda module, args: inside.append(True))
    model.register_forward_hook(lambda module, args, output: inside.clear())
    for module in model.model.modules():
        if next(module.parameters(recurse=False), None) is not None:
            module.register_forward_pre_hook(lambda module, args: check(inside))

    def check(inside: list[bool]) -> None:
        assert inside

    source = {name: batch[name] for name in ("input_ids", "attention_mask")}  # type: ignore[literal-required]
    model.run_encoder(source)
    states = model.encode(batch, capture=[Site("embeddings"), Site("attention", 2)]).rows(
        batch["tokens"]
    )
    model.capture(batch, [Site("value", 1)])
    model.logits(states)
    model.with_lm_head(lambda head: check(inside), states)
    assert not inside


def hubert() -> LanguageModel:
    """Speech: two convolutions make a frame of some samples, and nothing is predicted."""
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=24,
        conv_dim=(8, 8),
        conv_kernel=(4, 3),
        conv_stride=(3, 2),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        apply_spec_augment=False,
        feat_extract_norm="layer",
    )
    speech = Anatomy(
        architecture="HubertModel",
        model_type="hubert",
        inputs=("input_values", "attention_mask"),
        embeddings_path="feature_extractor",
        layers_path="encoder.layers",
        projection_paths={
            "query": "attention.q_proj",
            "key": "attention.k_proj",
            "value": "attention.v_proj",
        },
        lm_head_path=None,
        head_prefixes=(),
        mask=lambda model, inputs: model._get_feature_vector_attention_mask(
            int(model._get_feat_extract_output_lengths(inputs["input_values"].shape[1])),
            inputs["attention_mask"],
        ).long(),
        position_table=None,
        auto_class="AutoModel",
    )
    return LanguageModel(HubertModel(config).eval(), speech)


def test_a_body_of_another_length_says_which_of_its_positions_are_real() -> None:
    model = hubert().double()
    lengths = (40, 25)
    sound = torch.zeros(2, 40, dtype=torch.float64)
    for row, length in enumerate(lengths):
        sound[row, :length] = torch.randn(length, dtype=torch.float64)
    mask = (torch.arange(40) < torch.tensor(lengths).unsqueeze(1)).long()
    batch: Any = {"src_input_values": sound, "src_attention_mask": mask}
    sites = [Site("hidden", 1), Site("query", 2)]
    encoded = model.encode(batch, view="src_", capture=sites)
    frames = [((length - 4) // 3 + 1 - 3) // 2 + 1 for length in lengths]
    assert encoded.hidden.shape[:2] == encoded.mask.shape == (2, frames[0])
    assert encoded.mask.sum(1).tolist() == frames
    assert encoded.hidden.shape[1] < 40
    real = encoded.mask.flatten().nonzero().squeeze(1)
    alone = [
        model.encode({"input_values": sound[row : row + 1, :n], "attention_mask": mask[:1, :n]})  # type: ignore[typeddict-unknown-key]
        for row, n in enumerate(lengths)
    ]
    wanted = torch.cat([one.hidden[0] for one in alone])
    assert len(wanted) == len(real)
    torch.testing.assert_close(encoded.rows(real), wanted, rtol=0, atol=1e-10)
    assert encoded.captured[sites[1]].shape == (2, frames[0], 16)
    assert torch.equal(model.capture(batch, sites, "src_")[sites[1]], encoded.captured[sites[1]])


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_others_have_the_mask_of_what_they_read(
    family: str, make_model: Callable[..., PreTrainedModel], make_batch: Callable[..., Batch]
) -> None:
    model = LanguageModel(make_model(family))
    batch = make_batch(model)
    side = "decoder_attention_mask" if model.reads_pairs else "attention_mask"
    assert model.encode(batch).mask is batch[side]  # type: ignore[literal-required]
