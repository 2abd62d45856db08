"""Sources and targets for encoder-decoders, single texts for all others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import prompted
import pytest
import torch

from lit_distill.batch import Batch, row_languages, row_targets
from lit_distill.data_facts import DataFacts
from lit_distill.errors import UserError
from lit_distill.models import FreshStudent, load_tokenizer
from lit_distill.models.fitting.data_fit import check_objective, check_start, compare_templates

T5 = {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "pad_token_id": 0}
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "bos_token_id": 1, "eos_token_id": 1}


@dataclass(frozen=True)
class Asked:
    masked: bool | None
    pairs: bool = False


def asking(masked: bool | None, pairs: bool = False) -> DataFacts:
    return DataFacts(SimpleNamespace(objective=Asked(masked, pairs)))


def built(kind: str, shape: dict[str, Any]) -> Any:
    return FreshStudent(kind, shape).build(None, 20)


def test_what_a_model_reads_must_be_what_is_fed() -> None:
    pairs, single = built("t5", T5), built("gpt2", GPT2)
    check_objective(asking(False, True), pairs, "student")
    check_objective(asking(False), single, "student")
    with pytest.raises(UserError, match=r"reads a source and a target.*layout=pairs"):
        check_objective(asking(False), pairs, "student")
    with pytest.raises(UserError, match=r"reads one text.*layout to decoder"):
        check_objective(asking(False, True), single, "student")


def test_targets_begin_as_the_model_begins_them() -> None:
    model = built("t5", T5)
    model.config.decoder_start_token_id = 0  # as checkpoints have it
    check_start(0, model, "student")
    check_start(None, model, "student")
    check_start(3, built("gpt2", GPT2), "student")
    with pytest.raises(UserError, match=r"begin with token 3 and the student's with 0"):
        check_start(3, model, "student")


def test_other_chat_templates_of_the_teacher_are_warned_of(tmp_path: Path) -> None:
    own, other = (
        load_tokenizer(prompted.tokenizer(tmp_path / name, chat=chat))
        for name, chat in (("own", prompted.CHAT), ("other", prompted.FORGETFUL))
    )
    chats = SimpleNamespace(rendering=SimpleNamespace(chat=True))
    plain = SimpleNamespace(rendering=SimpleNamespace(chat=False))
    with pytest.warns(UserWarning, match="chat templates of student and teacher differ"):
        compare_templates(DataFacts(chats), own, other)
    for data, teacher in ((chats, own), (plain, other), (None, other)):
        compare_templates(DataFacts(data), own, teacher)  # warnings are errors here


def test_rows_of_pairs_point_into_the_target() -> None:
    batch = Batch(
        input_ids=torch.zeros(2, 7, dtype=torch.int64),
        decoder_input_ids=torch.zeros(2, 3, dtype=torch.int64),
        rows=torch.tensor([0, 1, 4]),
        targets=torch.tensor([5, 6, 7]),
        language=torch.tensor([8, 9]),
    )
    assert row_languages(batch).tolist() == [8, 8, 9]
    assert row_targets(batch, torch.arange(6)).tolist() == [5, 6, -100, -100, 7, -100]
