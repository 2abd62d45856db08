"""A headless Chromium that opens files, for what a page must be in a browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str | None:
    """The program; LIT_DISTILL_CHROMIUM names one that is elsewhere."""
    return os.environ.get("LIT_DISTILL_CHROMIUM") or next(
        filter(None, map(shutil.which, NAMES)), None
    )


@contextmanager
def browser() -> Iterator[Any]:
    """A browser; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if (program := chromium()) is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@contextmanager
def opened(
    running: Any, path: Path, width: int, dark: bool = False
) -> Iterator[tuple[Any, list[str]]]:
    """A page at a width, and what its console and its network said was wrong."""
    scheme = "dark" if dark else "light"
    context = running.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said = list[str]()
    page = context.new_page()
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda asked: said.append(asked.url) if asked.url.startswith("http") else None
    )
    page.goto(path.resolve().as_uri())
    yield page, said
    context.close()


if __name__ == "__main__":  # PAGE.html WIDTH light|dark OUT.png [SELECTOR or 'top']
    source, width, scheme, out, *part = sys.argv[1:]
    with (
        browser() as running,
        opened(running, Path(source), int(width), scheme == "dark") as (page, _),
    ):
        if part and part[0] != "top":
            page.locator(part[0]).first.screenshot(path=out)
        else:
            page.screenshot(path=out, full_page=not part)
