"""Disk of checkpoints and caches, known before they are written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_modules import MaskedTokens, MultilingualCorpus, Source, Temperature
from lit_distill.cli.preflight.disk import expected_states, size_of, teacher_cache
from lit_distill.models import TeacherSpec
from lit_distill.tools.caching.cache_teacher import CacheOptions, cache_teacher


@pytest.mark.parametrize("objective", [MaskedTokens(), MaskedTokens(probability=0.4)])
def test_a_teacher_cache_is_reckoned_within_a_tenth(
    objective: MaskedTokens, tiny_bert: Path, text_folder: Path, tmp_path: Path
) -> None:
    data = MultilingualCorpus(
        sources=[Source(files="{language}.txt")],
        data_dir=str(text_folder),
        cache_dir=str(tmp_path / "corpus"),
        tokenizer=str(tiny_bert),
        objective=objective,
        sampler=Temperature(2.0),
        max_length=32,
        batch_tokens=128,
        mask_variants=1,
    )
    data.prepare_data()
    data.setup("fit")
    reckoned = teacher_cache(data, TeacherSpec(str(tiny_bert)).build())
    cache_teacher(str(tmp_path / "cache"), TeacherSpec(str(tiny_bert)), data, CacheOptions())
    shards = sum(path.stat().st_size for path in (tmp_path / "cache").glob("*.safetensors"))
    assert reckoned == pytest.approx(shards, rel=0.1)
    assert size_of(tmp_path / "cache") > shards


def test_states_are_known_before_the_first_step() -> None:
    weights = [torch.nn.Parameter(torch.ones(7, 3)), torch.nn.Parameter(torch.ones(5))]
    optimizer = torch.optim.AdamW(weights)
    assert expected_states(optimizer) == 2 * 4 * 26
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    found = [v for s in optimizer.state.values() for v in s.values() if v.dim()]
    assert expected_states(optimizer) == sum(v.numel() * v.element_size() for v in found)
