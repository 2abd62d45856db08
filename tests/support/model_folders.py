"""Folders that are sent to the hub of the tests, and an evaluation of a model in one of them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from evaluated import cell, right_share
from hub_client import HubClient, Outcome
from hub_server import HubServer
from hub_uploads import Account

from lit_distill.tools.evaluating.cells.predictions import Kind, Predictions
from lit_distill.tools.evaluating.plan import model_mark
from lit_distill.tools.evaluating.reporting.cost import Cost, Timing
from lit_distill.tools.evaluating.reporting.report import write_report

TOKEN, READER = "hf_OfAlice", "hf_OfAliceWhoReads"
SHARES = {"teacher": 0.9, "student": 0.8, "control": 0.78, "majority": 0.5, "bag of words": 0.6}
CARD = """---
library_name: transformers
pipeline_tag: text-classification # what it is for
tags:
  - mine
language: [en]
---

# A model

What I wrote myself.
"""


def with_accounts(hub: HubServer) -> HubServer:
    """The hub with a user, who has a token that writes and one that reads."""
    hub.accounts[TOKEN] = Account("alice", organisations=("lab",))
    hub.accounts[READER] = Account("alice", role="read")
    hub.uploads.messages.clear()
    hub.uploads.ignored.clear()
    hub.uploads.storage = None
    hub.uploads.objects.clear()  # or nothing would be sent twice
    return hub


def folder_with(model: Path, folder: Path, card: str = CARD) -> Path:
    """A copy of a model's folder with a card, and things beside that are nobody's business."""
    shutil.copytree(model, folder)
    (folder / "README.md").write_text(card, "utf-8")
    (folder / "LICENSE").write_text("mine", "utf-8")
    (folder / "projections").mkdir()
    (folder / "projections/index.json").write_text("{}", "utf-8")
    for name in ("optimizer.pt", "seen_texts.npy", ".env", "tensorboard/events.out", "last.ckpt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"secret")
    return folder


def pushed(client: HubClient, *args: str, token: str = TOKEN) -> Outcome:
    """How `push` ends."""
    command = ["push", *map(str, args)]
    environment = {"HF_TOKEN": token} if token else {}
    return client.run(f"raise SystemExit(main({command!r}))", **environment)


def evaluation(output: Path, student: str, **more: Any) -> Path:
    """What `evaluate` writes about tasks in three languages, of which one has too few examples."""
    cells = []
    for place, (model, share) in enumerate(SHARES.items()):
        known = right_share(share, 600, seed=place)
        cells += [cell(model, "topic", _by_language(known), seed) for seed in (1, 2)]
    for model, loss in {"teacher": 1.0, "student": 1.5}.items():
        own = Predictions(
            Kind.LOSSES, np.arange(8, dtype=np.uint64), np.zeros(8, np.int64), ("en",),
            np.ones(8), np.full((8, 1), loss),
        )  # fmt: skip
        cells.append(cell(model, "text", own))
    cells.append(cell("student", "ner", None, error="CUDA out of memory"))
    models = {"teacher": "owner/teacher", "student": student, "control": "elsewhere"}
    options = {
        "models": models, "reference": "teacher", "control": "control", "resamples": 50,
        "costs": {"teacher": cost(2.0), "student": cost(1.0)},
        "marks": {"student": model_mark(student)} if Path(student).is_dir() else {},
    }  # fmt: skip
    write_report(output, cells, **{**options, **more})
    return output


def _by_language(own: Predictions) -> Predictions:
    """Three languages, of which the last has eight examples: too few to beat anybody."""
    rows = np.concatenate([np.full(296, 0), np.full(296, 1), np.full(8, 2)])
    return replace(own, languages=("en", "hi", "bn"), language=rows)


def cost(scale: float) -> Cost:
    timings = (Timing(1, 32, scale, 1.5 * scale, 2 * scale, 1e4, 5),)
    return Cost(int(5e6 * scale), int(2e6 * scale), int(2e7 * scale), None, None, 4e6, timings)
