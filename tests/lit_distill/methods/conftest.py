"""What tests of methods that write text share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from prompts import Asked, asked, prompt_batch
from transformers import T5Config, T5ForConditionalGeneration

from lit_distill.batch import Batch
from lit_distill.losses import AccumulationWindow
from lit_distill.methods.generated_text._on_policy import OnPolicy
from lit_distill.models import LanguageModel, LayerCopyStudent, TeacherSpec, ending_ids, start_id


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random T5: encoder of 2 layers, decoder of 4."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=4,
        num_heads=2, decoder_start_token_id=0, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    model = T5ForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    folder = tmp_path_factory.mktemp("tiny_t5")
    model.save_pretrained(folder)
    return folder


class Writers:
    """A method on tiny models in float64, without a Trainer."""

    def __init__(self, folder: Path) -> None:
        self.spec = TeacherSpec(str(folder))
        self.folder = folder

    def built(self, method: OnPolicy) -> OnPolicy:
        teacher = self.spec.build().double()
        method.teachers["teacher"] = teacher
        method.students["student"] = LayerCopyStudent().build(teacher, 0).double()
        method.endings = (*ending_ids(teacher), 7, 11, 17, 23, 31)
        return method

    def opened(self, method: OnPolicy, *batches: Batch) -> list[Batch]:
        """The window's batches that training would see."""
        return method.prepare(list(batches))

    @property
    def model(self) -> LanguageModel:
        return self.spec.build()

    def batch(self, texts: list[Asked], **options: Any) -> Batch:
        start = start_id(self.model) if self.model.reads_pairs else None
        return prompt_batch(texts, start=start, **options)

    def asked(self, count: int = 4, **options: Any) -> list[Asked]:
        return asked(count, 40, ending_ids(self.model)[0], **options)


def loss_and_gradient(method: OnPolicy, batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the window of these batches."""
    window = AccumulationWindow.of(batches, 0.5, None, torch.device("cpu"))
    losses = [window.total_loss(method.losses(batch, window)) for batch in batches]
    loss = torch.stack(losses).sum()
    found = torch.autograd.grad(loss, list(method.student.parameters()), allow_unused=True)
    return loss.detach(), torch.cat([each.flatten() for each in found if each is not None])


def logits_by(model: LanguageModel) -> Callable[[list[int], list[int]], list[float]]:
    """Hugging Face's own forward over one text, as the oracles call it."""

    def last(prompt: list[int], written: list[int]) -> list[float]:
        inputs = {"input_ids": torch.tensor([prompt + written])}
        if model.reads_pairs:
            target = torch.tensor([[start_id(model), *written]])
            inputs = {"input_ids": torch.tensor([prompt]), "decoder_input_ids": target}
        with torch.no_grad():
            found: list[float] = model.model(**inputs).logits[0, -1].tolist()
        return found

    return last


@pytest.fixture(params=["gpt2", "t5"])
def writers(request: pytest.FixtureRequest, tiny_gpt2: Path, tiny_t5: Path) -> Writers:
    return Writers({"gpt2": tiny_gpt2, "t5": tiny_t5}[request.param])


@pytest.fixture
def decoders(tiny_gpt2: Path) -> Writers:
    return Writers(tiny_gpt2)


@pytest.fixture(name="loss_and_gradient")
def _loss_and_gradient() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return loss_and_gradient


@pytest.fixture(name="logits_by")
def _logits_by() -> Callable[..., Any]:
    return logits_by
