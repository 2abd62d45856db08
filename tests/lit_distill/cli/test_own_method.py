"""A method of somebody else's: what its page shows is run, from fit to export."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from batches import collate, samples
from jsonargparse import _common as settings
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from lit_distill.__main__ import main
from lit_distill.cli.parsing import modules
from lit_distill.losses import AccumulationWindow
from lit_distill.models import LayerCopyStudent, TeacherSpec

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/own_method.md"
UPDATES = 2


def blocks(language: str) -> list[str]:
    """The code of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def commands(
    tmp_path: Path,
    tiny_bert: Path,
    text_folder: Path,
    tiny_corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dict[str, list[str]]]:
    """What the page types, by what it is for, in a folder with the page's files and our configs.

    Models and texts are tiny ones; permissions are as in a new process.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(modules, "permitted", [])
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "jeffreys.py").write_text("".join(blocks("python")))
    (tmp_path / "jeffreys.yaml").write_text("".join(blocks("yaml")))
    small = {"max_steps": UPDATES, "val_check_interval": 1}
    text = yaml.safe_load(tiny_corpus.read_text())
    tiny_corpus.write_text(yaml.safe_dump({**text, "trainer": {**small, "log_every_n_steps": 1}}))
    places = {"TEACHER": str(tiny_bert), "TEXTS": str(text_folder)}
    typed = [shlex.split(block.replace("\\\n", "")) for block in blocks("sh")]
    lines = [[places.get(word, word) for word in line[3:]] for line in typed]
    given = dict(zip(("fit", "swap", "resume", "export"), lines, strict=True))
    for name in ("fit", "swap"):
        given[name] += ["-c", str(tiny_corpus)]
    before = dict(settings.parsing_settings)
    yield given
    settings.parsing_settings.update(before)
    sys.modules.pop("jeffreys", None)


def test_the_page_runs(commands: dict[str, list[str]], tiny_bert: Path) -> None:
    """It fits and moves the student, goes on where it was, and exports without its module."""
    assert len("".join(blocks("python")).splitlines()) <= 30
    assert main(commands["fit"]) == 0
    saved = Path("runs/jeffreys/checkpoints/last.ckpt")
    assert torch.load(saved, weights_only=True)["global_step"] == UPDATES
    layer = "bert.encoder.layer.0.attention.self.query.weight"
    trained = load_file("runs/jeffreys/student-last/model.safetensors")[layer]
    assert not torch.equal(trained, load_file(tiny_bert / "model.safetensors")[layer])
    more = [word.replace("2000", str(2 * UPDATES)) for word in commands["resume"]]
    assert main(more) == 0
    assert torch.load(saved, weights_only=True)["global_step"] == 2 * UPDATES
    sys.modules.pop("jeffreys")
    Path("jeffreys.py").unlink()
    assert main(commands["export"]) == 0
    _, report = AutoModelForMaskedLM.from_pretrained("student", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_a_file_swaps_the_method(
    commands: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of the method that stood there before is left but what both have."""
    with pytest.raises(SystemExit) as ended:
        main(commands["swap"])
    assert not ended.value.code
    model: dict[str, Any] = yaml.safe_load(capsys.readouterr().out)["model"]
    assert model["class_path"] == "jeffreys.Jeffreys"
    assert model["init_args"]["share"] == 0.5
    assert "temperature" not in model["init_args"]
    assert model["init_args"]["student"]["class_path"] == "lit_distill.models.LayerCopyStudent"


def test_without_permission_the_module_is_not_imported(
    commands: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    line = [word for word in commands["fit"] if word not in ("--allow-module", "jeffreys")]
    with pytest.raises(SystemExit):
        main(line)
    assert "--allow-module jeffreys" in capsys.readouterr().err
    assert "jeffreys" not in sys.modules


def test_it_is_the_formula(commands: dict[str, list[str]], tiny_bert: Path) -> None:
    """Against Hugging Face's own forward in float64."""
    modules.permit(["--allow-module", "jeffreys"])
    batch, spec = collate(samples(4, 100)), TeacherSpec(str(tiny_bert))
    method = sys.modules["jeffreys"].Jeffreys(0.3, teacher=spec)
    method.teachers["teacher"] = teacher = spec.build().double()
    method.students["student"] = student = LayerCopyStudent().build(teacher, 0).double()
    window = AccumulationWindow.single(batch)
    loss = window.total_loss(method.losses(batch, window))
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}  # type: ignore[literal-required]
    p, q = (
        model.model(**inputs).logits.flatten(0, 1)[batch["rows"]].log_softmax(-1)
        for model in (teacher, student)
    )
    expected = 0.3 * (p.exp() * (p - q)).sum() + 0.7 * (q.exp() * (q - p)).sum()
    assert loss.item() == pytest.approx(expected.item() / len(p), rel=1e-12)
