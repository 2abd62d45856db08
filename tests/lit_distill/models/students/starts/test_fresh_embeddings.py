"""Fresh students whose embeddings are their teacher's in fewer dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lit_distill.errors import UserError
from lit_distill.models import FreshStudent, LanguageModel


@pytest.mark.parametrize("how", ["svd", "pca"])
def test_the_table_is_the_teachers_in_fewer_dimensions(how: Any, model: LanguageModel) -> None:
    """In every family; distances between tokens are those that so few dimensions hold."""
    teacher = model.model.get_input_embeddings().weight.detach().double()
    shift = teacher.mean(0) if how == "pca" else 0.0
    student = FreshStudent(config={"hidden_size": 8}, embeddings=how).build(model, 0)
    table = student.model.get_input_embeddings().weight
    assert table.shape == (40, 8)
    left, values, _ = torch.linalg.svd(teacher - shift, full_matrices=False)
    expected = left[:, :8] * values[:8]
    signs = (table * expected).sum(0).sign()
    torch.testing.assert_close(table.double(), expected * signs, rtol=0, atol=1e-5)
    lost = (teacher - shift).square().sum() - table.double().square().sum()
    torch.testing.assert_close(lost, values[8:].square().sum(), rtol=0, atol=1e-4)
    if student.config.tie_word_embeddings:
        assert student.anatomy.lm_head(student.model).weight is table
    assert table.requires_grad
    assert student.model.get_input_embeddings().weight.dtype == torch.float32


def test_embeddings_of_another_type_are_taken_and_frozen(
    bert: LanguageModel, make_model: Callable[..., Any]
) -> None:
    shape = {"num_hidden_layers": 2, "hidden_size": 12, "num_attention_heads": 2}
    start = FreshStudent("distilbert", shape, embeddings="svd", freeze=["*word_embeddings*"])
    student = start.build(bert, 0)
    table = student.model.get_input_embeddings().weight
    assert not table.requires_grad
    again = FreshStudent("distilbert", shape, embeddings="svd").build(bert, 0)
    assert torch.equal(again.model.get_input_embeddings().weight, table)  # nothing is drawn
    wide = FreshStudent(embeddings="svd").build(bert, 0).model.get_input_embeddings().weight
    theirs = bert.model.get_input_embeddings().weight
    torch.testing.assert_close(wide @ wide.T, theirs @ theirs.T, rtol=0, atol=1e-5)
    half = LanguageModel(make_model("bert")).to(torch.bfloat16)
    student = FreshStudent(config={"hidden_size": 8}, embeddings="pca").build(half, 0)
    assert student.model.get_input_embeddings().weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"vocab_size": 50}, r"the student has 50 tokens and the teacher 40"),
        ({"hidden_size": 20, "intermediate_size": 8}, r"a table of width 16 has no 20 directions"),
    ],
)
def test_tables_that_do_not_fit_are_refused(
    config: dict[str, Any], message: str, bert: LanguageModel, make_model: Callable[..., Any]
) -> None:
    with pytest.raises(UserError, match=message):
        FreshStudent(config=config, embeddings="svd").build(bert, 0)
    with pytest.raises(UserError, match=r"embeddings=pca are a teacher's and none is given"):
        FreshStudent("bert", embeddings="pca").build(None, 40)
    bart = LanguageModel(make_model("bart"))
    start = FreshStudent(config={"tie_word_embeddings": False}, embeddings="svd")
    with pytest.raises(UserError, match=r"reads sources and targets by tables of their own"):
        start.build(bart, 0)
