"""A whole experiment in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

BASE = """
model:
  class_path: TripleLoss
  init_args:
    temperature: 2.0
    teacher: {name: TEACHER}
    student: {class_path: LayerCopyStudent, init_args: {num_layers: 2}}
    optimizer: {class_path: AdamW, init_args: {lr: 1e-3}}
    schedule: {class_path: Linear, init_args: {warmup: 0.1}}
data:
  class_path: MultilingualCorpus
  init_args:
    sources:
    - {language: de, files: [FOLDER/de.txt]}
    - {language: en, files: [FOLDER/en.txt]}
    max_length: 16
    batch_tokens: 128
    updates_per_epoch: 3
    validation_windows: 5
    cache_dir: "{run_dir}/cache"
trainer:
  accelerator: cpu
  max_steps: 2
  max_epochs: -1
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  plugins: [AtomicCheckpointIO]
  logger: false
  callbacks:
  - class_path: RngState
  - class_path: RunCheckpoint
    init_args: {every_n_updates: 1}
"""


@pytest.fixture
def folder(
    tmp_path: Path, tiny_bert: Path, text_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The working directory, with a whole experiment in `exp.yaml`."""
    monkeypatch.chdir(tmp_path)
    text = BASE.replace("TEACHER", str(tiny_bert)).replace("FOLDER", str(text_folder))
    (tmp_path / "exp.yaml").write_text(text)
    return tmp_path
