"""A third source of teachers' answers needs no change elsewhere: training, resuming, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from batches import Served, collate, samples, window
from own_methods import ProjectedStates
from own_sources import TEMPERATURE, Server
from shipped_methods import quiet_trainer

from lit_distill.batch import Batch
from lit_distill.errors import UserError
from lit_distill.losses import AccumulationWindow
from lit_distill.methods import GKD, CausalLM, MiniLM, TripleLoss
from lit_distill.models import (
    CachedTeacher,
    LanguageModel,
    PretrainedStudent,
    TeacherSpec,
    load_tokenizer,
)
from lit_distill.schedules import Constant

PARTS = [collate(samples(4, 100, seed=seed)) for seed in range(4)]


def method(student: Path, **options: Any) -> TripleLoss:
    """On logits at masked positions."""
    return TripleLoss(
        **{
            "student": PretrainedStudent(str(student)),
            "temperature": TEMPERATURE,
            "alpha_cos": 0.0,
            "restrict_kd_to_mask": True,
            "dropout": 0.0,
            "optimizer": lambda groups: torch.optim.SGD(groups, lr=0.1),
            "schedule": Constant(warmup=0.0),
            **options,
        }
    )


def fit(module: TripleLoss, tokenizer: Path, **options: Any) -> Any:
    data = Served([window(PARTS[:2]) + window(PARTS[2:])], PARTS[:1])
    data.tokenizer = load_tokenizer(str(tokenizer))
    ckpt_path = options.pop("ckpt_path", None)
    more = {"max_steps": 2, "accumulate_grad_batches": 2, "precision": "32-true", **options}
    trainer = quiet_trainer(**more)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def weights(module: TripleLoss) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.student.parameters()])


@pytest.fixture
def untrained(tiny_bert: Path, tmp_path: Path) -> Path:
    """The folder of a student that is not the teacher."""
    model = TeacherSpec(str(tiny_bert)).build().model
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(tmp_path / "untrained")
    load_tokenizer(str(tiny_bert)).save_pretrained(tmp_path / "untrained")
    return tmp_path / "untrained"


def test_a_student_learns_of_a_server_what_it_learns_of_the_teacher(
    tiny_bert: Path, untrained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = method(untrained, teacher=TeacherSpec(str(tiny_bert)))
    source = Server(str(tiny_bert))
    told = method(untrained, teacher_source=source)
    before = weights_of(untrained)
    for module in (live, told):
        fit(module, tiny_bert)
    assert (weights(live) - before).norm() > 0.01
    torch.testing.assert_close(weights(told), weights(live), rtol=0, atol=1e-6)
    assert source.requests == 4  # one for each micro-batch, and none for validation
    assert source.checked == ["Served", "student"]
    assert told.logged == pytest.approx(live.logged, rel=1e-4)


def weights_of(folder: Path) -> torch.Tensor:
    model = TeacherSpec(str(folder)).build()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_run_goes_on_from_its_own_source_only(
    tiny_bert: Path, untrained: Path, tmp_path: Path
) -> None:
    one, other = str(tiny_bert), str(untrained)
    whole, first = (method(untrained, teacher_source=Server(one)) for _ in range(2))
    fit(whole, tiny_bert)
    path = tmp_path / "one.ckpt"
    fit(first, tiny_bert, max_steps=1).save_checkpoint(path)
    saved = torch.load(path, weights_only=True)["lit_distill"]
    assert saved["teacher_source"]["name"] == f"the server {tiny_bert}"
    assert saved["teachers"]["teacher"]["fingerprint"] == saved["teacher_source"]["fingerprint"]
    for source in ({"teacher_source": Server(other)}, {"teacher": TeacherSpec(one)}):
        with pytest.raises(UserError, match=r"was trained from the server .* configured for"):
            fit(method(untrained, **source), tiny_bert, ckpt_path=path)


def test_what_a_source_cannot_give_is_refused_at_once(tiny_bert: Path) -> None:
    source, teacher = Server("unused"), TeacherSpec(str(tiny_bert))
    with pytest.raises(UserError, match="MiniLM needs tensors inside the teacher, and a Server gi"):
        MiniLM(teacher=teacher, teacher_source=source)
    with pytest.raises(UserError, match=r"GKD needs whole distributions, .* CachedTeacher gives"):
        GKD(teacher=teacher, teacher_cache="unused")
    with pytest.raises(UserError, match="CausalLM hears no teacher, and a Server gives"):
        CausalLM(teacher_source=source)
    with pytest.raises(UserError, match="both given: leave one"):
        method(tiny_bert, teacher_source=source, teacher_cache="unused")
    assert method(tiny_bert, teacher_source=CachedTeacher("unused")).cast.source.gives
    with pytest.raises(UserError, match=r"LogitMSE\(\) needs more than a server says"):
        fit(method(tiny_bert, teacher_source=Server(str(tiny_bert)), alpha_mse=1.0), tiny_bert)


def test_logits_and_states_need_one_forward_of_the_teacher(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = TeacherSpec(str(tiny_bert)).build()
    module = ProjectedStates(teacher=TeacherSpec(str(tiny_bert)))
    module.students["student"] = module.cast.student_specs["student"].build(teacher, 0)
    module.teachers["teacher"] = teacher
    module.on_models_built()
    ran, encode = list[LanguageModel](), LanguageModel.encode

    def counted(self: LanguageModel, *args: Any, **options: Any) -> Any:
        ran.append(self)
        return encode(self, *args, **options)

    monkeypatch.setattr(LanguageModel, "encode", counted)
    terms = module.losses(PARTS[0], AccumulationWindow.single(PARTS[0]))
    assert terms.keys() == {"kl", "states"}
    assert ran == [module.student, teacher]


def test_a_cache_gives_no_states_of_other_layers(tiny_bert: Path) -> None:
    class Inside(TripleLoss):
        def losses(self, batch: Batch, window: AccumulationWindow) -> Any:
            from lit_distill.models import Site

            return self.teach(batch, [Site("hidden", 2)])

    module = Inside(teacher_cache="unused", student=PretrainedStudent(str(tiny_bert)))
    with pytest.raises(UserError, match=r"reads hidden of layer 2 of its teacher, .* last ones"):
        module.losses(PARTS[0], AccumulationWindow.single(PARTS[0]))
