"""The command: cells are asked once, broken ones are told, bad input is said before the first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from asked_modes import Guessing

from data_modules import LabelledCorpus, MultilingualCorpus, Source
from lit_distill.__main__ import main
from lit_distill.errors import UserError
from lit_distill.models import LayerCopyStudent, TeacherSpec, load_tokenizer
from lit_distill.tools.evaluating import evaluate as command
from lit_distill.tools.evaluating.cells.mode import Question
from lit_distill.tools.evaluating.evaluate import evaluate
from lit_distill.tools.evaluating.modes import FineTuning, LinearProbe, PseudoPerplexity
from lit_distill.tools.evaluating.plan import Only, Task


@pytest.fixture
def models(tiny_bert: Path, tmp_path: Path) -> dict[str, str]:
    half = LayerCopyStudent().build(TeacherSpec(str(tiny_bert)).build(), 0)
    half.model.save_pretrained(tmp_path / "small")
    load_tokenizer(str(tiny_bert)).save_pretrained(tmp_path / "small")
    return {"teacher": str(tiny_bert), "small": str(tmp_path / "small")}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells that are asked."""
    names: list[str] = []
    own = Guessing.predict

    def predict(mode: Guessing, question: Question) -> Any:
        names.append(f"{Path(question.model).name} {question.seed}")
        return own(mode, question)

    monkeypatch.setattr(Guessing, "predict", predict)
    return names


def test_models_are_fine_tuned_and_reported(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    mode = FineTuning(updates=6, lr=1e-3, batch_tokens=256, validations=2)
    out = tmp_path / "out"
    results = evaluate(models, str(out), {"first": Task(corpus, mode, ["accuracy"])}, seeds=(1, 2))
    assert [(r.model, r.seed) for r in results if not r.error] == [
        ("majority", 1), ("bag of words", 1), ("teacher", 1), ("small", 1), ("teacher", 2),
        ("small", 2),
    ]  # fmt: skip
    words = results[1].predictions
    assert words is not None
    assert results[0].predictions is not None
    guessed = results[0].predictions
    assert (words.chosen == words.targets).mean() > (guessed.chosen == guessed.targets).mean()
    for result in results:
        assert result.predictions is not None
        assert (result.predictions.examples == words.examples).all()
        assert (result.predictions.targets == words.targets).all()
        assert list(result.predictions.languages) == ["de", "en"]
    written = json.loads((out / "results.json").read_text())
    assert written["tasks"]["first"]["metric"] == "accuracy"
    assert (out / "report.md").is_file()
    assert "teacher, first, seed 2: accuracy 0." in capsys.readouterr().out
    assert not list(out.rglob("*.unfinished"))


def test_a_cell_is_asked_again_only_where_something_changed(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, counted: list[str]
) -> None:
    def run(mode: Guessing = Guessing(), seeds: tuple[int, ...] = (1, 2)) -> list[str]:  # noqa: B008
        counted.clear()
        evaluate(
            models, str(tmp_path / "out"), {"a": Task(corpus, mode, baselines=False)}, seeds=seeds
        )
        return list(counted)

    assert len(run()) == 4
    assert run() == []
    assert run(seeds=(1, 2, 3)) == [f"{Path(folder).name} 3" for folder in models.values()]
    assert len(run(Guessing(breaks="nobody"))) == 4
    run()
    config = Path(models["small"]) / "config.json"
    config.write_text(config.read_text() + "\n")
    assert run() == ["small 1", "small 2"]
    (tmp_path / "out/cells/teacher/a/2.npz").write_bytes(b"PK cut short")
    assert run() == [f"{Path(models['teacher']).name} 2"]
    corpus.holdout = 3
    assert len(run()) == 4


def test_a_broken_cell_is_told_and_asked_again(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, counted: list[str], capsys: Any
) -> None:
    tasks = {"a": Task(corpus, Guessing(breaks="small"), baselines=False)}
    for _ in range(2):
        counted.clear()
        with pytest.raises(SystemExit) as ending:
            evaluate(models, str(tmp_path / "out"), tasks, seeds=(1, 2))
        assert ending.value.code == 1
        said = capsys.readouterr()
        assert "broken: small, a, seed 2: ValueError: no such luck with small" in said.err
        assert "small 1" in counted
    assert len(counted) == 2  # of the second run, the broken ones
    written = json.loads((tmp_path / "out/cells/small/a/1.json").read_text())
    assert any("predict" in line for line in written["trace"])
    assert json.loads((tmp_path / "out/results.json").read_text())["broken"]


def test_a_part_and_a_report_of_what_is_there(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, counted: list[str]
) -> None:
    tasks = {name: Task(corpus, Guessing(), baselines=False) for name in ("a", "b")}
    out = str(tmp_path / "out")
    evaluate(models, out, tasks, only=Only(models=["small"], tasks=["b"], seeds=[2]))
    assert counted == ["small 2"]
    shutil.rmtree(models["small"])
    found = evaluate(models, out, tasks, report_only=True)
    assert [(one.model, one.task, one.seed) for one in found] == [("small", "b", 2)]
    assert counted == ["small 2"]


def test_models_that_are_not_there_yet_are_asked_later(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, counted: list[str]
) -> None:
    """Cells of a long experiment are asked while other models are still trained."""
    (tmp_path / "small-2").symlink_to(models["small"])
    both = {"teacher": models["teacher"], "small": str(tmp_path / "small-{seed}")}
    tasks, out = {"a": Task(corpus, Guessing())}, str(tmp_path / "out")
    with pytest.raises(UserError, match=r"There is no folder .*small-1"):
        evaluate(both, out, tasks, seeds=(1, 2))
    found = evaluate(both, out, tasks, seeds=(1, 2), only=Only(models=["teacher"]))
    assert [one.seed for one in found if one.model == "teacher"] == [1, 2]
    found = evaluate(both, out, tasks, seeds=(1, 2), only=Only(seeds=[2]))
    assert [one.seed for one in found if one.model == "small"] == [2]
    assert counted.count("small-2 2") == 1
    lacking = {"teacher": str(tmp_path / "none")}
    with pytest.raises(UserError, match=r"There is no folder .*none"):
        evaluate(lacking, out, tasks, seeds=(1, 2), only=Only(seeds=[2]))
    with pytest.raises(UserError, match=r"There is no folder .*none"):
        evaluate(lacking, out, tasks, only=Only(models=["majority"]))


def test_modes_that_are_not_random_are_asked_once_and_predict_no_labels_have_no_baselines(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path
) -> None:
    tasks = {"read": Task(corpus, PseudoPerplexity(at_most=5))}
    found = evaluate(models, str(tmp_path / "out"), tasks, seeds=(4, 5))
    assert [(one.model, one.seed) for one in found] == [("teacher", 4), ("small", 4)]


def test_a_model_of_every_seed_is_asked_under_its_own(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, counted: list[str]
) -> None:
    for seed in (1, 2):
        shutil.copytree(models["small"], tmp_path / f"small-seed={seed}")
    given = {"teacher": models["teacher"], "small": str(tmp_path / "small-seed={seed}")}
    tasks = {
        "a": Task(corpus, Guessing(), baselines=False),
        "read": Task(corpus, PseudoPerplexity(at_most=2)),
    }
    found = evaluate(given, str(tmp_path / "out"), tasks, seeds=(1, 2))
    assert sorted(counted)[:2] == ["small-seed=1 1", "small-seed=2 2"]
    assert [one.seed for one in found if (one.model, one.task) == ("small", "read")] == [1, 2]
    assert [one.seed for one in found if (one.model, one.task) == ("teacher", "read")] == [1, 2]
    shutil.rmtree(tmp_path / "small-seed=2")
    with pytest.raises(UserError, match=r"small-seed=2"):
        evaluate(given, str(tmp_path / "out"), tasks, seeds=(1, 2))


@pytest.mark.rotated(2)  # two processes start
def test_cells_in_processes_and_one_that_is_killed(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    tasks = {"a": Task(corpus, Guessing(kills="small"), baselines=False)}
    with pytest.raises(SystemExit):
        evaluate(models, str(tmp_path / "out"), tasks, seeds=(1, 2, 3), jobs=2)
    assert "small, a, seed 3: its process ended with -9" in capsys.readouterr().err
    alone = evaluate(
        {"teacher": models["teacher"]},
        str(tmp_path / "alone"),
        {"a": Task(corpus, Guessing(), baselines=False)},
    )
    together = evaluate(
        {"teacher": models["teacher"]}, str(tmp_path / "out"), tasks, report_only=True
    )
    for one, other in zip(alone, together, strict=True):
        assert one.predictions is not None
        assert other.predictions is not None
        assert (one.predictions.scores == other.predictions.scores).all()


def test_what_cannot_be_asked(
    corpus: LabelledCorpus, models: dict[str, str], text_folder: Path, tmp_path: Path
) -> None:
    out, task = str(tmp_path / "out"), {"a": Task(corpus, LinearProbe())}

    def refused(match: str, **changes: Any) -> None:
        given: dict[str, Any] = {"models": models, "tasks": task, "output": out, **changes}
        with pytest.raises(UserError, match=match):
            evaluate(**given)

    refused("There is nothing to ask", models={})
    refused("There is nothing to ask", seeds=())
    refused("There is nothing to ask", tasks=None)
    refused("has one twice", seeds=(1, 1))
    refused("reference: 'mentor' is none of the models teacher, small", reference="mentor")
    refused("control: 'alone' is none", control="alone")
    refused(r"only\.tasks: 'b' is none of the evaluation's: a", only=Only(tasks=["b"]))
    refused("'a/b' is to be the name of a folder", tasks={"a/b": task["a"]})
    refused("'majority' is the name of a baseline", models={**models, "majority": "x"})
    refused("no folder nowhere", models={**models, "other": "nowhere/at/all"})
    refused("names the metric 'acuracy'", tasks={"a": Task(corpus, LinearProbe(), ["acuracy"])})
    plain = MultilingualCorpus([Source(files="{language}.txt")], str(text_folder))
    refused(
        "tasks.a: FineTuning asks for the labels", tasks={"a": Task(plain, FineTuning(epochs=1))}
    )
    corpus.sources[0].__dict__["test"] = None
    refused("tasks.a: LinearProbe asks about test texts, and no source has any")
    assert not (tmp_path / "out").exists()


def test_texts_that_a_model_has_seen_are_refused(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {models["small"]: 7}
    monkeypatch.setattr(command, "seen_in", lambda model, data, split: seen.get(model, 0))
    tasks = {"a": Task(corpus, Guessing())}
    with pytest.raises(UserError, match="would say nothing: small 7 of a"):
        evaluate(models, str(tmp_path / "out"), tasks)
    assert not (tmp_path / "out").exists()
    evaluate(models, str(tmp_path / "out"), tasks, only=Only(models=["teacher"]))


def test_the_command_line(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, capsys: Any
) -> None:
    source = {"files": "{language}.jsonl", "languages": ["de", "en"],
              "test": "{language}.test.jsonl"}  # fmt: skip
    data = {"sources": [source], "max_length": 16, "cache_dir": str(tmp_path / "cache")}
    probe = {"class_path": "LinearProbe", "init_args": {"pooling": "first"}}
    content = {
        "tasks": {"a": {
            "data": {"class_path": "LabelledCorpus", "init_args": data},
            "mode": probe, "metrics": ["macro_f1"],
        }},
        "models": models,
    }  # fmt: skip
    path = tmp_path / "evaluation.yaml"
    path.write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    args = ["evaluate", "-c", str(path), "--output", str(out), "--seeds", "[5]"]
    assert main([*args, f"--tasks.a.data.data_dir={corpus.data_dir}"]) == 0
    assert json.loads((out / "results.json").read_text())["tasks"]["a"]["metric"] == "macro_f1"
    assert (out / "cells/small/a/5.npz").is_file()
    capsys.readouterr()
    content["tasks"]["a"]["mode"]["class_path"] = "LinearProb"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as ending:
        main(args)
    assert ending.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_interrupted_evaluation_stops(
    corpus: LabelledCorpus, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(mode: Guessing, question: Question) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Guessing, "predict", stop)
    with pytest.raises(KeyboardInterrupt):
        evaluate(models, str(tmp_path / "out"), {"a": Task(corpus, Guessing())})
    assert not list((tmp_path / "out/cells").glob("teacher/*/*.json"))
