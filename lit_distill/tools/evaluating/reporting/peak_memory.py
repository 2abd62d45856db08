"""A process of its own that loads a model, runs it, and says how much memory that took at most.

`python -m lit_distill.tools.evaluating.reporting.peak_memory '{"folder": ..., "lengths": ...}'`, as
`cost.peak_memory` starts it.
"""

from __future__ import annotations

import json
import sys

import torch

from lit_distill.host_memory import peak_resident
from lit_distill.models import TeacherSpec
from lit_distill.tools.evaluating.reporting.cost import CostSpec, inputs_of, largest


def main(folder: str, spec: CostSpec) -> tuple[int, int | None]:
    """Bytes beyond those of the libraries, and bytes of the GPU if that is where it runs."""
    before = peak_resident()
    model = TeacherSpec(folder).build(needs_head=False).to(spec.place)
    with torch.no_grad():
        model.run_body(inputs_of(model, *largest(model, spec)))
    on_gpu = torch.cuda.max_memory_allocated() if spec.place == "cuda" else None
    return peak_resident() - before, on_gpu


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    asked = wanted.pop("folder")
    tuples = {name: tuple(wanted[name]) for name in ("lengths", "batches")}
    print(json.dumps(main(asked, CostSpec(**{**wanted, **tuples}))))
