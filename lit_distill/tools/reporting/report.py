"""The command `report`: one page from a run, several, a recipe's folder, an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os.path import commonpath
from pathlib import Path

from lit_distill.errors import UserError
from lit_distill.files.output_folders import check_output_file
from lit_distill.files.shipped_configs import path_of
from lit_distill.tools.reporting import measured, run_sections, shared_sections
from lit_distill.tools.reporting.measured import Measured, is_measured, measured_of
from lit_distill.tools.reporting.parts import Page, Section
from lit_distill.tools.reporting.plain_files import inside, named, yaml_of
from lit_distill.tools.reporting.rendering import is_ours, write
from lit_distill.tools.reporting.runs import Run, is_run, run_of

PAGE, OF_EVALUATION = "report.html", "evaluation.html"
"""Names of the page; `evaluate` has a report.md of its own."""


def report(folders: list[str], output: str | None = None) -> None:
    """Writes one HTML page, and Markdown beside it, about what is in folders.

    Args:
        folders: of runs, of a recipe, of `evaluate` or `compare`, or a recipe's file. Of a folder
            that is none of these, those in it that are.
        output: the page, which ends in .html; the Markdown has its name with .md. By default
            report.html in the folder (of `evaluate`: evaluation.html); of several it is asked for.

    Raises:
        UserError: a folder holds nothing to report on, or the output is somebody else's file.
    """
    places = [_folder(Path(name)) for name in folders]
    path = _output(places, output)
    for place in (path, path.with_suffix(".md")):
        check_output_file(place, is_ours, [], "--output")
    found = [one for place in places for one in _parts(place)]
    if not found:
        raise UserError(
            f"{', '.join(folders)}: there is no run, no evaluation and no comparison in it (config."
            "yaml beside report.json, results.json or compare.json). Give the folder of one of "
            "these, or of a recipe."
        )
    write(path, page_of(list(dict.fromkeys(found))))
    print(f"The report is in {path}, and as Markdown in {path.with_suffix('.md')}.")


def write_recipe_report(folder: Path, stages: Sequence[str]) -> None:
    """The report of a recipe that has run; what goes wrong is said in a line, and fails nothing.

    Args:
        folder: of the recipe's runs.
        stages: their names, in order.
    """
    path = folder / PAGE
    try:
        for place in (path, path.with_suffix(".md")):
            check_output_file(place, is_ours, [], "run_dir")
        found = [folder / name for name in stages]
        if found := [one for one in found if is_run(one) or is_measured(one)]:
            write(path, page_of(found))
            print(f"The report is in {path}.")
    except Exception as error:  # whatever it is, the recipe has done its work
        print(f"No report was written: {' '.join(str(error).split()) or type(error).__name__}")


def page_of(folders: Sequence[Path]) -> Page:
    """The report on runs and measurements.

    Args:
        folders: of them, in order.
    """
    names = _names(folders)
    runs = [run_of(one, names[one]) for one in folders if is_run(one)]
    scores = [measured_of(one, names[one]) for one in folders if not is_run(one)]
    sections = _scores(runs, scores)
    if len(runs) == 1:
        sections = [*run_sections.sections_of(runs[0]), *sections]
    elif runs:
        one_each = [
            Section(run.name, (), run_sections.sections_of(run), folded=True) for run in runs
        ]
        shared = shared_sections.side_by_side(runs)
        sections = [shared, *sections, Section("Each run", (), one_each)]
    if runs:
        more = (shared_sections.data, shared_sections.configuration, shared_sections.environment)
        sections += [make(runs) for make in more]
    shown = [section for section in sections if section.blocks or section.inner]
    return Page(_title(folders), _lead(runs, scores), shown, shared_sections.warnings(runs, scores))


def _scores(runs: Sequence[Run], scores: Sequence[Measured]) -> list[Section]:
    sizes = {}
    for run in runs:
        for kind in ("student", "student-last"):
            for student, facts in inside(run.facts, "students").items():
                own = run.folder / kind
                place = own if len(run.students) == 1 else own / student
                count = inside(facts).get("parameters")
                if isinstance(count, int):
                    sizes[str(place)] = float(count)
    # evaluations before comparisons: what is asked of a model is what it is for
    ordered = sorted(scores, key=lambda one: not one.is_evaluation)
    return [section for own in ordered for section in measured.sections_of(own, sizes)]


def _lead(runs: Sequence[Run], scores: Sequence[Measured]) -> list[str]:
    if len(runs) == 1:
        return [run_sections.lead_of(runs[0])]
    if runs:
        return [f"{run.name}: {run_sections.lead_of(run)}" for run in runs]
    models = dict.fromkeys(
        str(name)
        for own in scores
        for name in (inside(own.content, "models") if own.is_evaluation else own.content)
    )
    return [f"What {', '.join(models)} were asked, and what they answered."] if models else []


def _title(folders: Sequence[Path]) -> str:
    if len(folders) == 1:
        return folders[0].resolve().name
    return Path(commonpath([one.resolve().parent for one in folders])).name or "Report"


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Names that tell folders apart: the last part, or the path where two end alike."""
    last = [one.resolve().name for one in folders]
    return {
        one: str(one) if last.count(name) > 1 else name
        for one, name in zip(folders, last, strict=True)
    }


def _folder(place: Path) -> Path:
    """The folder that is meant; of a recipe's file, that of its runs.

    Raises:
        UserError: there is none.
    """
    place = path_of(place, "recipes")
    if place.suffix in (".yaml", ".yml") and place.is_file():
        place = Path(named(yaml_of(place, []), "run_dir") or Path("runs", place.stem))
    if not place.is_dir():
        raise UserError(f"{place} is no folder: a report is made from the folder of what has run.")
    return place


def _output(places: Sequence[Path], output: str | None) -> Path:
    if output is not None:
        path = Path(output)
        if path.suffix != ".html":
            raise UserError(f"--output {output} does not end in .html: give the name of a page.")
        return path
    if len(places) != 1:
        raise UserError(
            "Of several folders, --output says where the page goes: give it a name.html."
        )
    evaluated = is_measured(places[0]) and not is_run(places[0])
    return places[0] / (OF_EVALUATION if evaluated else PAGE)


def _parts(place: Path) -> Iterator[Path]:
    """The folder itself, or what it holds, in the order in which that was written."""
    if is_run(place) or is_measured(place):
        yield place
        return
    inner = [one for one in place.iterdir() if one.is_dir() and (is_run(one) or is_measured(one))]
    yield from sorted(inner, key=_written)


def _written(folder: Path) -> tuple[float, str]:
    """When a stage of a recipe or a run ended."""
    journal = folder.parent / ".stages" / f"{folder.name}.json"
    files = [journal, folder / "report.json", folder / measured.RESULTS, folder / measured.COMPARED]
    found = [path.stat().st_mtime for path in files if path.is_file()]
    return found[0] if found else 0.0, folder.name
