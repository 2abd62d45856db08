"""Real checkpoints, in folders under LIT_DISTILL_MODELS: `smollm2`, `gemma3`, `minilm`, `e5`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

from lit_distill.__main__ import main

FOLDER = os.environ.get("LIT_DISTILL_MODELS", "")
EXPERIMENT = """
model:
  class_path: SupervisedKD
  init_args:
    teacher: {name: MODEL}
    student: {class_path: LayerCopyStudent}
    optimizer: {class_path: AdamW, init_args: {lr: 1e-5}}
data:
  class_path: MultilingualCorpus
  init_args:
    sources: [{language: en, files: [TEXT]}]
    objective: {class_path: NextToken}
    max_length: 32
    batch_tokens: 64
    updates_per_epoch: 2
    validation_windows: 2
trainer:
  accelerator: cpu
  max_steps: 2
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_checkpointing: false
  logger: false
  callbacks: [{class_path: ExportStudent}]
"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not FOLDER, reason="no LIT_DISTILL_MODELS")]


def experiment(folder: Path, model: Path, text: Path) -> Path:
    config = EXPERIMENT.replace("MODEL", str(model)).replace("TEXT", str(text / "en.txt"))
    (folder / "real.yaml").write_text(config)
    return folder / "real.yaml"


@pytest.mark.parametrize(
    ("name", "kept"),
    [("smollm2", list(range(0, 30, 2))), ("gemma3", [0, 2, 4, 5, 7, 9, 11, 12, 14])],
)
def test_a_real_decoder_is_carved_trained_exported_and_writes(
    name: str, kept: list[int], tmp_path: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = Path(FOLDER) / name
    assert main(["fit", "-c", str(experiment(tmp_path, source, text_folder))]) in (None, 0)
    folder = tmp_path / "runs/real/student-last"
    student, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    teacher: Any = AutoModelForCausalLM.from_pretrained(source)
    for new, old in enumerate(kept):  # two updates of 1e-5 at most move a weight so far
        for (path, ours), theirs in zip(
            student.model.layers[new].named_parameters(),
            teacher.model.layers[old].parameters(),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=3e-5, msg=path)
    assert len(student.model.layers) == len(kept)
    assert student.config.tie_word_embeddings
    kinds = AutoConfig.from_pretrained(source).to_dict().get("layer_types")
    if kinds:
        assert student.config.layer_types == [kinds[number] for number in kept]
        assert set(student.config.layer_types) == set(kinds)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer("The capital of France is", return_tensors="pt")
    written = student.eval().generate(**prompt, max_new_tokens=5, do_sample=False)
    new_ids = written[0, prompt.input_ids.shape[1] :]
    assert 1 <= len(new_ids) <= 5
    assert int(new_ids.max()) < len(tokenizer)


@pytest.mark.parametrize("name", ["minilm", "e5"])
def test_a_sentence_encoder_teaches_what_lies_inside_and_its_student_is_one(
    name: str, tmp_path: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Carved, trained for two updates, and exported as the class that the teacher's folder is."""
    monkeypatch.chdir(tmp_path)
    source = Path(FOLDER) / name
    config = str(experiment(tmp_path, source, text_folder))
    options = ["--model=MiniLMv2", "--model.relation_heads=12", "--data.objective=NoTargets"]
    assert main(["fit", "-c", config, *options]) in (None, 0)
    folder = tmp_path / "runs/real/student-last"
    student, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    teacher: Any = AutoModel.from_pretrained(source)
    assert type(student) is type(teacher)
    assert student.config.architectures == ["BertModel"]
    count = teacher.config.num_hidden_layers
    assert student.config.num_hidden_layers == count // 2
    names = dict(teacher.named_parameters())
    for path, ours in student.named_parameters():
        *before, number, rest = path.split(".", 3) if path.startswith("encoder.") else ("", "", "")
        if before and number.isdigit():
            path = ".".join((*before, str(int(number) * 2), rest))
        torch.testing.assert_close(ours, names[path], rtol=1e-3, atol=3e-5, msg=path)
    text = AutoTokenizer.from_pretrained(folder)("the river", return_tensors="pt")
    assert student(**text).last_hidden_state.isfinite().all()


@pytest.mark.parametrize("name", ["minilm", "e5"])
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_an_encoder_without_a_head_is_one_clear_line(
    name: str,
    role: str,
    tmp_path: Path,
    text_folder: Path,
    tiny_bert: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    source = str(Path(FOLDER) / name)
    config = str(experiment(tmp_path, Path(source), text_folder))
    options = ["--data.objective=MaskedTokens"]
    if role == "student":
        options += [
            f"--model.teacher.name={tiny_bert}",
            "--model.student=PretrainedStudent",
            f"--model.student.name={source}",
        ]
    with pytest.raises(SystemExit) as exit_:
        raise SystemExit(main(["fit", "-c", config, *options]))
    assert exit_.value.code not in (None, 0)
    said = [line for line in capfd.readouterr().err.splitlines() if "error" in line.lower()]
    assert len(said) == 1
    assert f"{source} has no language-model head" in said[0]
    assert "fresh_head" in said[0]


@pytest.mark.parametrize("name", ["minilm", "smollm2", "e5"])
def test_a_real_vocabulary_is_cut_and_states_stay(
    name: str, tmp_path: Path, text_folder: Path
) -> None:
    """The command verifies itself; here, beside it, by plain Transformers."""
    source, output = Path(FOLDER) / name, tmp_path / "small"
    files = [f"--files.{tag}=[{text_folder / tag}.txt]" for tag in ("de", "en")]
    assert main(["trim-vocabulary", str(output), f"--model={source}", *files]) == 0
    states = []
    for folder in (source, output):
        text = AutoTokenizer.from_pretrained(folder)("the river runs", return_tensors="pt")
        model = AutoModel.from_pretrained(folder).eval()
        with torch.no_grad():
            states.append(model(**text).last_hidden_state)
    assert torch.equal(*states)
    weights = [(folder / "model.safetensors").stat().st_size for folder in (source, output)]
    assert weights[1] < weights[0]
