"""Tables of another vocabulary: each from its own old rows."""

from __future__ import annotations

import pytest
import torch
from transformers import BartConfig, BartForConditionalGeneration

from lit_distill.models.architectures.table import anatomy_of
from lit_distill.models.vocabularies.mixing import exchange, means

PIECES = [[3], [1, 4], [0], [2, 2, 5], [9]]


@pytest.mark.parametrize("tied", [True, False])
def test_encoder_and_decoder_keep_tables_of_their_own(tied: bool) -> None:
    config = BartConfig(
        vocab_size=10, d_model=8, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=8, decoder_ffn_dim=8, max_position_embeddings=16,
        tie_word_embeddings=tied,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BartForConditionalGeneration(config)
    readers = model.get_encoder(), model.get_decoder()
    before = [reader.get_input_embeddings().weight.detach().clone() for reader in readers]
    assert torch.equal(*before) == tied
    exchange(model, anatomy_of(type(model).__name__), means(PIECES, 10))
    for reader, old in zip(readers, before, strict=True):
        expected = torch.stack([old[each].mean(0) for each in PIECES])
        torch.testing.assert_close(reader.get_input_embeddings().weight, expected)
    same = readers[0].get_input_embeddings().weight is readers[1].get_input_embeddings().weight
    assert same == tied
    ids = torch.tensor([[0, 3, 4]])
    assert model(input_ids=ids, decoder_input_ids=ids).logits.shape == (1, 3, len(PIECES))
