"""The size of a saved model is known before its weights are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import FAMILIES, random_model

from lit_distill.errors import UserError
from lit_distill.models import parameters_of


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_tells_how_many_weights_there_will_be(family: str, tmp_path: Path) -> None:
    model = random_model(family)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)
    tensors = {id(t): t.numel() for t in (*model.parameters(), *model.buffers())}
    assert parameters_of(str(tmp_path)) == sum(tensors.values())


def test_what_is_not_here_is_not_asked_for() -> None:
    for name in ("nobody/has-this-model", "/no/such/folder"):
        with pytest.raises(UserError):
            parameters_of(name, ask_hub=False)
