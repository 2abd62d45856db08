"""Every shipped YAML is parsed; every experiment runs two updates on tiny models and text."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import writers
import yaml
from labelled import rows, write
from safetensors.torch import load_file

from lit_distill.__main__ import main
from lit_distill.tools.evaluating import evaluate as evaluating
from lit_distill.tools.recipes.recipe import read_recipe

ROOT = Path(__file__).parents[1]
CONFIGS, TINY = ROOT / "configs", ROOT / "tests/tiny/runs"
PARTS = {part: sorted((CONFIGS / part).glob("*.yaml")) for part in (
    "trainer", "loggers", "methods", "models", "optimizers", "data", "experiments")}  # fmt: skip
OWN_MODELS = {"mini_mbert_teacher": ["student"], "mini_mbert_triple_loss": ["teacher"],
              "mini_mbert_control": ["teacher"], "mini_mbert_minilm": ["teacher"],
              "mini_mbert_output_distribution": ["teacher"],
              "mini_mbert_states_uniform": ["teacher"],
              "mini_mbert_states_uniform_plus_last": ["teacher"],
              "mini_mbert_minilm_v2": ["teacher"], "mini_mbert_head_fit": ["student"],
              "e5_hidden_states": ["teacher"], "e5_minilm_v2": ["teacher"],
              "mini_mixed_distil_bert": ["student"],
              "mini_mixed_distil_bert_distilled": ["teacher"]}  # fmt: skip
"""Models that an experiment leaves to its user."""
RECIPES = [CONFIGS / "quickstart/recipe.yaml", *sorted((CONFIGS / "recipes").glob("*.yaml"))]
FAMILIES = {"distilgpt2": "gpt2"}
PROMPTED = {"gkd_phrasebook": "gpt2", "gkd_gsm8k": "gpt2", "gkd_qwen": "gpt2",
            "gkd_t5_translation": "t5", "distillm_gpt2": "gpt2",
            "sft_bart_12_3": "bart"}  # fmt: skip
"""Experiments on prompts, and which kind of models they have."""
OF_TASKS = {"multi_task_phrasebook": ("topic", "sentiment", "entities")}
"""Experiments on several tasks, whose students and teachers are left to their user."""
OF_LABELS = ("xtreme_distil",)
"""Experiments on labelled texts."""
TINY_KNOBS = {"relation_heads": 4, "teacher_layer": 3}
"""In the place of those that fit no model of width 16 with 4 layers."""
TINY_SHAPE = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2}


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def printed(*args: str, command: str = "fit") -> dict[str, Any]:
    """The merged configuration of a command."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        assert main([command, *args, "--print_config"]) == 0
    return yaml.safe_load(output.getvalue())


def noted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `evaluate` would be called with, once `main` has run it."""
    given: dict[str, Any] = {}

    @functools.wraps(evaluating.evaluate)
    def note(**options: Any) -> None:
        given.clear()
        given.update(options)

    monkeypatch.setattr(evaluating, "evaluate", note)
    return given


def test_every_folder_of_configs_is_known() -> None:
    found = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert found == {*PARTS, "evaluations", "quickstart", "recipes", "translation"}
    assert all(PARTS.values())


@pytest.mark.rotated(3)  # each is a command
@pytest.mark.parametrize(
    "path", [p for part, paths in PARTS.items() if part != "experiments" for p in paths], ids=name
)
def test_every_part_is_parsed(path: Path) -> None:
    """On top of a complete configuration, so that only the part itself can be wrong."""
    below = ["-c", f"{CONFIGS}/methods/masked_lm.yaml", "-c", f"{CONFIGS}/data/phrasebook.yaml"]
    merged = printed(*below, "-c", str(path), "--model.teacher.name=x")
    assert yaml.safe_load(path.read_text("utf-8")).keys() <= merged.keys()


@pytest.mark.rotated(3)  # every stage is a command
@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_every_stage_of_a_recipe_is_parsed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of stages that differ in values only (seeds, rates, folders), the first."""
    kinds = {}
    for stage in read_recipe(path, {}).stages:
        options = tuple(option.partition("=")[0] for option in stage.args)
        kinds.setdefault((stage.command, stage.configs, options), stage)
    for stage in kinds.values():
        if stage.command == "fit":
            assert printed(*stage.args)["run_dir"] == str(stage.folder)
        elif stage.command == "cache-teacher":
            merged = printed(*stage.args, command=stage.command)
            assert merged["output"] == str(stage.folder)
        elif stage.command == "evaluate":
            given = noted(monkeypatch)
            assert main([stage.command, *stage.args]) == 0
            assert given["models"]
            assert Path(given["output"]) == stage.folder


@pytest.mark.rotated(3)  # each is a command
@pytest.mark.parametrize("path", sorted((CONFIGS / "evaluations").glob("*.yaml")), ids=name)
def test_every_evaluation_is_parsed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = noted(monkeypatch)
    below = ["-c", f"{CONFIGS}/evaluations/retention.yaml"] * path.stem.endswith("_encoder")
    more = ["--models.teacher=x", "--output=y"]
    assert main(["evaluate", *below, "-c", str(path), *more]) == 0
    assert given["models"] == {"teacher": "x"}
    written = yaml.safe_load(path.read_text("utf-8"))
    kinds = {task: type(own.mode).__name__ for task, own in (given["tasks"] or {}).items()}
    wanted = written.get("tasks", {}).items()
    assert kinds == {task: own["mode"]["class_path"] for task, own in wanted}
    probes = {name: type(own).__name__ for name, own in (given["probes"] or {}).items()}
    wanted = written.get("probes", {}).items()
    assert probes == {name: own["class_path"].rpartition(".")[2] for name, own in wanted}


@pytest.mark.rotated(5)  # a whole run each
@pytest.mark.parametrize(
    "path",
    [path for path in PARTS["experiments"] if path.stem not in {*PROMPTED, *OF_TASKS, *OF_LABELS}],
    ids=name,
)
def test_an_experiment_names_real_models_and_runs(
    path: Path, tiny_models: dict[str, Path], text_folder: Path, tmp_path: Path
) -> None:
    family = FAMILIES.get(path.stem, "bert")
    model = str(tiny_models[family])
    start = [f"--model.{role}.name=x" for role in OWN_MODELS.get(path.stem, ())]
    merged = printed("-c", str(path), *start)
    spec = merged["model"]["init_args"]
    several = spec["students"] or {}
    own = {} if several else spec["student"]["init_args"]
    assert several or spec["teacher"] or own.get("name") or own["model_type"]
    options = [
        f"--data.data_dir={text_folder}", f"--data.cache_dir={tmp_path / 'cache'}",
        f"--tokenizer={model}", f"--run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    models: dict[str, Any] = {}
    if spec["teacher"]:
        models = {
            "teacher": {"name": model, "revision": None},
            "student": {"init_args": {"layers": "every_other"}},
        }
        if spec["student"]["class_path"].endswith("FreshStudent"):
            models["student"] = {"init_args": {"config": TINY_SHAPE}}
        models |= {knob: value for knob, value in TINY_KNOBS.items() if knob in spec}
        others = {key: {"name": model} for key in spec["ensemble"]["others"]}
        models |= {"ensemble": {"others": others}} if others else {}
    elif "name" in own:
        named = {"name", "tokenizer"} & own.keys()
        models = {"student": {"init_args": dict.fromkeys(named, model)}}
    elif several:
        start = {"model_type": "bert", "config": TINY_SHAPE}
        models = {
            "students": {
                student: {"class_path": "FreshStudent", "init_args": start} for student in several
            }
        }
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"model": {"init_args": models}}))
    options += ["-c", str(tmp_path / "models.yaml")]
    assert main(["fit", "-c", str(path), "-c", f"{TINY}/{family}.yaml", *options]) == 0
    for student in several or [""]:
        assert (tmp_path / "run/student" / student / "model.safetensors").is_file()


@pytest.mark.parametrize("stem", OF_LABELS)
def test_an_experiment_on_labels_runs_through_its_stages(
    stem: str, tiny_classifier: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every stage but the last ends with its first validation that is not far better."""
    path = CONFIGS / f"experiments/{stem}.yaml"
    stages = yaml.safe_load(path.read_text("utf-8"))["model"]["init_args"]["stages"]
    for stage in stages[:-1]:
        stage["until"]["most"] = 2
    write(tmp_path / "de.jsonl", rows(60, "ein zwei drei vier elf"))
    tiny = yaml.safe_load((TINY / "bert.yaml").read_text("utf-8"))["trainer"]
    more = {
        "model": {"init_args": {
            "stages": stages, "student": {"init_args": {"config": TINY_SHAPE}}}},
        "data": {"init_args": {
            "sources": [{"files": "de.jsonl", "language": "de"}], "max_length": 16,
            "batch_tokens": 96, "updates_per_epoch": 4, "validation_windows": 5}},
        "trainer": {**tiny, "max_steps": 2 * len(stages)},
    }  # fmt: skip
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(more))
    options = [f"--data.data_dir={tmp_path}", f"--data.cache_dir={tmp_path / 'cache'}"]
    options += [f"--tokenizer={tiny_classifier}", f"--model.teacher.name={tiny_classifier}"]
    configs = ["-c", str(path), "-c", str(tmp_path / "tiny.yaml"), f"--run_dir={tmp_path / 'run'}"]
    assert main(["fit", *configs, *options]) == 0
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["callbacks"]
    assert state["Stages"]["ends"] == [2, 4, 6, 8]
    said = [line for line in caplog.messages if line.startswith("Stage ") and " of 5, " in line]
    assert [line.partition(" learn ")[2] for line in said] == [
        "state_0_2, state_1_3, state_2_4.", *["logits."] * 2, *["hard."] * 2
    ]  # fmt: skip


@pytest.mark.parametrize("stem", OF_TASKS)
def test_an_experiment_on_tasks_is_parsed(stem: str) -> None:
    """That such a run trains and exports is in test_every_method.py."""
    start = {"class_path": "PretrainedStudent", "init_args": {"name": "x"}}
    students = dict.fromkeys(OF_TASKS[stem], start)
    teachers = {task: {"name": "x"} for task in OF_TASKS[stem]}
    models = [
        f"--model.students={json.dumps(students)}",
        f"--model.teachers={json.dumps(teachers)}",
    ]
    merged = printed("-c", str(CONFIGS / f"experiments/{stem}.yaml"), *models)
    parts = merged["model"]["init_args"], merged["data"]["init_args"]["tasks"]
    assert {*parts[0]["students"]} == {*parts[0]["teachers"]} == {*parts[1]} == {*OF_TASKS[stem]}


@pytest.mark.rotated(3)  # a whole run each
@pytest.mark.filterwarnings("ignore:The student ended 0 of")
@pytest.mark.parametrize("stem", PROMPTED)
def test_an_experiment_on_prompts_names_real_models_and_runs(
    stem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = CONFIGS / f"experiments/{stem}.yaml"
    start = [f"--model.{role}.name=x" for role in ("teacher", "student")]
    spec = printed("-c", str(path), *start[: 2 * ("TEACHER" in path.read_text("utf-8"))])
    assert spec["model"]["init_args"]["teacher"]["name"]
    teacher, student = (
        writers.save(PROMPTED[stem], tmp_path / who, seed)
        for seed, who in enumerate(("teacher", "student"))
    )
    models = {
        "teacher": {"name": str(teacher), "revision": None},
        "student": {"init_args": {"name": str(student), "revision": None}},
    }
    init_args = spec["model"]["init_args"]
    if init_args["student"]["class_path"].endswith("LayerCopyStudent"):
        del models["student"]
    (tmp_path / "models.yaml").write_text(yaml.safe_dump({"model": {"init_args": models}}))
    options = [
        "-c", str(tmp_path / "models.yaml"),
        *["--model.sampling.max_new_tokens=8"] * ("sampling" in init_args),
        f"--data.cache_dir={tmp_path / 'cache'}",
        f"--data.layout={'decoder' if PROMPTED[stem] == 'gpt2' else 'pairs'}",
        f"--tokenizer={student}", f"--run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    assert main(["fit", "-c", str(path), "-c", f"{TINY}/prompts.yaml", *options]) == 0
    assert (tmp_path / "run/student/model.safetensors").is_file()
    saved = load_file(tmp_path / "run/student/model.safetensors")
    before = load_file((student if "student" in models else teacher) / "model.safetensors")
    assert any(not torch.equal(saved[key], before[key]) for key in saved)
