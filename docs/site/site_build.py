"""Builds the site: `python docs/site/site_build.py build/site`, or `make docs`.

All pages are first written into one folder, with the reference made from the code and with links
between files of the repository turned into links between pages. What builds the site then needs no
plugin and no hook of ours, so that another builder of `mkdocs.yml` files can take its place.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from reference_pages import Reference
from site_links import linked_files, rewritten

from lit_distill.files.shipped_configs import shipped

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).with_name("mkdocs.yml")
STYLE = Path(__file__).with_name("site.css")
RENAMED = {
    "README.md": "overview.md",  # README.md would be an index
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", "": "text"}
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def build(output: Path) -> int:
    """Writes all pages and builds the site; broken links and anchors fail.

    Args:
        output: the folder of the site; what was in it goes.

    Returns:
        The exit code of the builder.
    """
    pages = output.with_name(f"{output.name}_pages")
    write_pages(pages)
    config = pages.with_suffix(".yml")
    config.write_text(yaml.safe_dump(site_config(pages, output), sort_keys=False), "utf-8")
    # Not --quiet: warnings that are not logged are not counted either, so that nothing is strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "true"}  # about a builder that we do not use
    return subprocess.run(command, check=False, env=environment).returncode


def write_pages(folder: Path) -> None:
    """Writes all pages and pictures, as the site has them.

    Args:
        folder: where; what was in it goes.

    Raises:
        LookupError: a page links a file that is not there.
    """
    if folder.exists():
        shutil.rmtree(folder)
    reference = Reference()
    made = reference.written()
    places = placed(reference.sources)
    for file, place in places.items():
        path = ROOT / file
        if place.startswith("source/"):
            made[place] = _source(file)
        elif path.suffix == ".md":
            made[place] = rewritten(path.read_text("utf-8"), file, places)
        elif path.suffix in (".png", ".css"):
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / place)
    for place, text in made.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text, "utf-8")


def placed(sources: set[str]) -> dict[str, str]:
    """The places of all files of the repository that the site has.

    Args:
        sources: files of code that have a page, beside those that are linked.
    """
    places = {**RENAMED, STYLE.relative_to(ROOT).as_posix(): STYLE.name}
    for path in _documents():
        file = path.relative_to(ROOT).as_posix()
        places[file] = file.removeprefix("docs/").removeprefix("benchmarks/")
    for name in shipped():
        folder, _, stem = name.partition("/")
        places[f"configs/{name}.yaml"] = f"reference/configs/{folder}.md#{stem}"
        places[f"configs/{folder}"] = f"reference/configs/{folder}.md"
    places["configs"] = "reference/index.md#configs"
    linked = {
        linked
        for file in places
        if file.endswith(".md")
        for linked in linked_files((ROOT / file).read_text("utf-8"), file)
    }
    code = {file for file in linked - {*places} if (ROOT / file).exists()} | sources
    return places | {file: f"source/{file}.md" for file in sorted(code)}


def _documents() -> Iterator[Path]:
    """Pages in Markdown that people wrote, tables that benchmarks wrote, and pictures."""
    for path in sorted([*ROOT.glob("docs/**/*"), *ROOT.glob("benchmarks/results/*")]):
        if path.suffix in (".md", ".png") and CONFIG.parent not in path.parents:
            yield path


def _source(file: str) -> str:
    """A page with a file of code, or with the names in a folder."""
    path = ROOT / file
    if path.is_dir():
        names = sorted(one.name for one in path.iterdir() if not one.name.startswith("__"))
        return f"{UNSEARCHED}# {file}\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    language, fence = LANGUAGES.get(path.suffix, "text"), "~~~~"
    text = path.read_text("utf-8").rstrip()
    return f"{UNSEARCHED}# {file}\n\n{fence}{language}\n{text}\n{fence}\n"


def site_config(pages: Path, output: Path) -> dict[str, Any]:
    """The configuration of the builder: `mkdocs.yml` with folders spelled out.

    Args:
        pages: folder of the pages, written already.
        output: folder of the site.
    """
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    config["nav"] = spelled_out(config["nav"], pages)
    return {**config, "docs_dir": str(pages.absolute()), "site_dir": str(output.absolute())}


def spelled_out(entries: list[Any], pages: Path) -> list[Any]:
    """A navigation in which every `folder/` is the pages in it, by name, that are named nowhere.

    Args:
        entries: the navigation, or a part of it.
        pages: folder of the pages.
    """
    named = {entry for entry in pages_in(entries) if not entry.endswith("/")}
    found = list[Any]()
    for entry in entries:
        if isinstance(entry, dict):
            found += [
                {title: inner if isinstance(inner, str) else spelled_out(inner, pages)}
                for title, inner in entry.items()
            ]
        elif entry.endswith("/"):
            inside = sorted(f"{entry}{path.name}" for path in (pages / entry).glob("*.md"))
            found += [page for page in inside if page not in named]
        else:
            found.append(entry)
    return found


def pages_in(entries: list[Any]) -> Iterator[str]:
    """The pages and folders that a navigation names, in order."""
    for entry in entries:
        if isinstance(entry, dict):
            for inner in entry.values():
                yield from [inner] if isinstance(inner, str) else pages_in(inner)
        else:
            yield entry


if __name__ == "__main__":
    raise SystemExit(build(Path(sys.argv[1])))
