"""What is found out about models beside their tasks, and kept: costs, and answers to probes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from lit_distill.files import strict_json
from lit_distill.files.atomic_files import replacing
from lit_distill.measures.probing import Probe
from lit_distill.tools.evaluating.plan import data_mark, digest, model_mark
from lit_distill.tools.evaluating.reporting.cost import Cost, CostSpec, Timing, measure_costs


class Beside:
    """Costs and answers of the models of an evaluation, each found out once.

    Args:
        models: folders or hub names, by name.
        output: folder of the evaluation.
        ask: find out anew what a model, or a way of asking, has changed; else what is there is
            taken, whatever it was made of.
    """

    def __init__(self, models: Mapping[str, str], output: Path, ask: bool) -> None:
        self._models, self._output, self._ask = dict(models), output, ask
        marks = {name: model_mark(source) for name, source in models.items()} if ask else {}
        self._marks = marks

    @property
    def marks(self) -> dict[str, str]:
        """Hashes of the models' files, by name; nothing where nothing is asked."""
        return dict(self._marks)

    def costs(self, spec: CostSpec | None) -> dict[str, Cost]:
        """The costs of all models; nothing without a way to measure.

        Raises:
            UserError: a model cannot be measured, or the costs cannot be written.
        """
        if spec is None:
            return {}
        path, identity = self._output / "costs.json", digest([self._marks, repr(spec)])
        found = self._there(path, identity)
        if found is None:
            costs = measure_costs(self._models, spec)
            found = _write(path, identity, {name: asdict(cost) for name, cost in costs.items()})
        return {
            name: Cost(**{**cost, "timings": tuple(Timing(**one) for one in cost["timings"])})
            for name, cost in found.items()
        }

    def answers(self, name: str, probe: Probe) -> dict[str, Any]:
        """The numbers of a probe by model.

        Raises:
            UserError: a model cannot be asked so, or the numbers cannot be written.
        """
        settings = [_mark(value) for value in vars(probe).values()] if self._ask else []
        path = self._output / "probes" / f"{name}.json"
        identity = digest([self._marks, repr(type(probe)), settings])
        found = self._there(path, identity)
        return _write(path, identity, probe.measure(self._models)) if found is None else found

    def _there(self, path: Path, identity: str) -> dict[str, Any] | None:
        """What a file holds; None where it has to be found out."""
        try:
            said = json.loads(path.read_text("utf-8"))
            if not self._ask or said["identity"] == identity:
                return dict(said["found"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None if self._ask else {}


def _mark(value: Any) -> str:
    return data_mark(value) if isinstance(value, LightningDataModule) else repr(value)


def _write(path: Path, identity: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Writes what was found, and gives it as it will be read."""
    text = strict_json.dumps({"identity": identity, "found": found}, indent=1)
    with replacing(path) as beside:
        beside.write_text(text, "utf-8")
    return dict(json.loads(text)["found"])
