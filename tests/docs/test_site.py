"""The site: links between files become links between pages, and broken ones fail."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import site_build
import yaml
from site_links import linked_files, rewritten

ROOT = Path(__file__).parents[2]
PLACES = {
    "README.md": "overview.md",
    "docs/runs.md": "runs.md",
    "docs/methods/gkd.md": "methods/gkd.md",
    "docs/own/x.md": "own/x.md",
    "docs/a.png": "a.png",
    "configs/methods/gkd.yaml": "reference/configs/methods.md#gkd",
    "lit_distill/batch.py": "source/lit_distill/batch.py.md",
}


@pytest.mark.parametrize(
    ("file", "link", "moved"),
    [
        ("README.md", "docs/runs.md", "runs.md"),
        ("README.md", "docs/runs.md#its-end", "runs.md#its-end"),
        ("docs/runs.md", "../README.md#speed", "overview.md#speed"),
        ("docs/runs.md", "a.png", "a.png"),
        ("docs/methods/gkd.md", "../runs.md", "../runs.md"),
        ("docs/methods/gkd.md", "../../README.md", "../overview.md"),
        (
            "docs/methods/gkd.md",
            "../../configs/methods/gkd.yaml",
            "../reference/configs/methods.md#gkd",
        ),
        ("docs/runs.md", "../lit_distill/batch.py", "source/lit_distill/batch.py.md"),
        ("docs/own/x.md", "../runs.md", "../runs.md"),
        ("docs/runs.md", "#its-end", "#its-end"),
        (
            "docs/runs.md",
            "https://arxiv.org/abs/1/docs/runs.md",
            "https://arxiv.org/abs/1/docs/runs.md",
        ),
    ],
)
def test_links_between_files_become_links_between_pages(file: str, link: str, moved: str) -> None:
    text = "See [`it`]({0}), ![a picture]({0}) (and [more]({0})).\n\n- [item]({0})\n"
    assert rewritten(text.format(link), file, PLACES) == text.format(moved)


@pytest.mark.parametrize(
    "code", ["`[x](docs/runs.md)`", "```\n[x](docs/runs.md)\n```", "a\n\n    f[x](docs/nothing)\n"]
)
def test_code_is_left_alone(code: str) -> None:
    assert rewritten(code, "README.md", PLACES) == code
    assert not list(linked_files(code, "README.md"))


def test_a_link_to_nowhere_is_told_with_its_file() -> None:
    with pytest.raises(LookupError, match=r"README.md links docs/gone.md"):
        rewritten("[x](docs/gone.md)", "README.md", PLACES)


def test_files_that_are_linked_have_places() -> None:
    places = site_build.placed(set())
    for file in places:
        if file.endswith(".md") and not places[file].startswith("source/"):
            text = (ROOT / file).read_text("utf-8")
            assert not [linked for linked in linked_files(text, file) if linked not in places], file
    assert places["README.md"] == "overview.md"
    assert places["benchmarks/results/peers.md"] == "results/peers.md"
    assert not [
        place
        for file, place in places.items()
        if file.startswith("docs/site/") and "css" not in file
    ]


def test_every_page_that_somebody_wrote_is_in_the_navigation(tmp_path: Path) -> None:
    """A page that is missing here needs a line in docs/site/mkdocs.yml."""
    places = [place for place in site_build.placed(set()).values() if place.endswith(".md")]
    written = [place for place in places if not place.startswith(("source/", "reference/"))]
    for place in written:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    nav = yaml.safe_load(site_build.CONFIG.read_text("utf-8"))["nav"]
    shown = list(site_build.pages_in(site_build.spelled_out(nav, tmp_path)))
    assert sorted(page for page in shown if not page.startswith("reference/")) == sorted(written)


def test_folders_of_the_navigation_are_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    for name in ("b", "a", "first"):
        (tmp_path / f"methods/{name}.md").touch()
    nav = ["index.md", {"Methods": ["methods/first.md", "methods/"]}]
    assert site_build.spelled_out(nav, tmp_path) == [
        "index.md",
        {"Methods": ["methods/first.md", "methods/a.md", "methods/b.md"]},
    ]


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs")
@pytest.mark.rotated(3)  # two sites, of 230 pages each
def test_the_site_is_built_and_broken_links_and_anchors_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "site"
    assert site_build.build(output) == 0, capfd.readouterr().err[-3000:]
    shown = (output / "reference/methods.html").read_text("utf-8")
    assert re.search(r'<dt><code id="TripleLoss.temperature">temperature</code>', shown)
    assert "<pre><span></span><code>L = alpha_kd" in re.sub(r"<a id[^>]*></a>", "", shown)
    shown = (output / "overview.html").read_text("utf-8")
    assert 'href="methods/triple_loss.html"' in shown
    assert 'src="tensorboard.png"' in shown
    assert (output / "source/lit_distill/batch.py.html").is_file()
    assert not re.findall(r'(?:src|<link[^>]* href)="https?://', shown)  # nothing is fetched

    write = site_build.write_pages

    def write_broken(folder: Path) -> None:
        write(folder)
        with (folder / "index.md").open("a", encoding="utf-8") as page:
            page.write(
                "\n[page](gone.md) [anchor](runs.md#gone) [option](reference/methods.md#GKD.gone)\n"
            )

    monkeypatch.setattr(site_build, "write_pages", write_broken)
    capfd.readouterr()
    assert site_build.build(output) == 1
    told = capfd.readouterr().err
    assert "'gone.md'" in told
    assert "'#gone'" in told
    assert "'#GKD.gone'" in told
