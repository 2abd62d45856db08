"""Running a model and the files made of it: outputs of each text, without its padding.

The model reads every text alone, and its vectors are pooled here once more by other means, so that
neither padding nor pooling of a file is compared with itself.

Shapes: T positions, N rows of a text, V outputs, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lit_distill.errors import UserError
from lit_distill.models import Predicted
from lit_distill.tools.delivering.deliverables.deliverable import Deliverable
from lit_distill.tools.delivering.gate.examples import Example, padded

Floats = NDArray[np.float32]


class Runner(Protocol):
    """What gives outputs of texts: the model, or a file made of it."""

    def rows(self, examples: Sequence[Example]) -> list[Floats]:
        """Outputs (N, V) of each text: its positions, first and last token, or one row."""


class TorchRunner:
    """The model itself, text by text.

    Args:
        what: holds it.
    """

    def __init__(self, what: Deliverable) -> None:
        self.what = what
        assert not what.model.training, "dropout would be compared"
        self.constants = {"use_cache": False} if what.anatomy.causal else {}

    def rows(self, examples: Sequence[Example]) -> list[Floats]:
        """See `Runner`."""
        return [self._row(padded([one], self.what.padding)) for one in examples]

    def forward(self, batch: Example) -> Any:
        """The model's outputs for a batch; of an embedder, its body's."""
        body = self.what.model if self.what.embedding is None else self.what.model.base_model
        with torch.inference_mode():
            given = {name: torch.from_numpy(values) for name, values in batch.items()}
            return body(**given, **self.constants)

    def _row(self, batch: Example) -> Floats:
        found = self.forward(batch)
        if self.what.embedding is not None:
            return self._vector(found.last_hidden_state[0].double().numpy())
        outputs = [found[name][0].float().numpy() for name in self.what.outputs]
        return _by_row(self.what, outputs)

    def _vector(self, states: NDArray[np.float64]) -> Floats:
        """The vector (1, D) of one text's states (T, D), none of which is padding."""
        assert self.what.embedding is not None
        places = {"mean": states.mean(0), "first": states[0], "last": states[-1]}
        vector = places[self.what.embedding.pooling]
        if self.what.embedding.normalized:
            vector = vector / np.linalg.norm(vector)
        return np.asarray(vector[None], np.float32)


class OnnxRunner:
    """A file, on batches of padded texts.

    Args:
        what: it was made of.
        path: of the file.
    """

    def __init__(self, what: Deliverable, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()  # as many as the model has
        options.log_severity_level = 3
        self.what, self.path = what, path
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def rows(self, examples: Sequence[Example]) -> list[Floats]:
        """See `Runner`; with keys and values, the second half of a text behind its first."""
        if self.what.cache:
            return self._in_halves(examples)
        outputs = self.forward(padded(examples, self.what.padding))
        return [
            _by_row(self.what, [output[index] for output in outputs], _length(self.what, one))
            for index, one in enumerate(examples)
        ]

    def forward(self, batch: Example) -> list[Any]:
        """The file's outputs for a batch."""
        if self.what.cache:
            return self._behind(batch, batch["attention_mask"], self._nothing(batch))
        return self._run({name: batch[name] for name in self.what.inputs})

    def _run(self, given: dict[str, Any]) -> list[Any]:
        try:
            return list(self.session.run(None, given))
        except Exception as error:  # of onnxruntime, which has one for each status
            shapes = ", ".join(f"{name} {value.shape}" for name, value in given.items())
            raise UserError(
                f"The export of {self.what.called} is refused, and nothing was written: the file "
                f"cannot be run on {shapes[:120]} ({' '.join(str(error).split())[:200]}). The "
                "exporter wrote a length in stone, or left something out: take --format hf."
            ) from error

    def _nothing(self, batch: Example) -> list[Any]:
        return [part.numpy() for part in self.what.no_past(len(batch["input_ids"]))]

    def _behind(self, batch: Example, mask: NDArray[np.int64], past: Sequence[Any]) -> list[Any]:
        """Logits, keys and values of a batch behind what was read; `mask` is of both."""
        places = np.maximum(mask.cumsum(1) - 1, 0)[:, -batch["input_ids"].shape[1] :]
        named = {f"past.{n}": p for n, p in zip(self.what.cached_names, past, strict=True)}
        ids = batch["input_ids"]
        given = {"input_ids": ids, "attention_mask": mask, "position_ids": places, **named}
        return self._run(given)

    def _in_halves(self, examples: Sequence[Example]) -> list[Floats]:
        """Prompts are padded on the left, and what follows on the right, as in use."""
        lengths = [_length(self.what, one) for one in examples]
        middles = [length // 2 for length in lengths]
        batch = padded([_part(o, 0, m) for o, m in zip(examples, middles, strict=True)], 0, True)
        past, seen, firsts = self._nothing(batch), batch["attention_mask"], None
        if seen.shape[1]:
            firsts, *past = self._behind(batch, seen, past)
        pairs = zip(examples, middles, lengths, strict=True)
        rest = padded([_part(o, m, n) for o, m, n in pairs], 0)
        mask = np.concatenate([seen, rest["attention_mask"]], 1)
        seconds = self._behind(rest, mask, past)[0]
        rows = []
        for index, (middle, length) in enumerate(zip(middles, lengths, strict=True)):
            first = [] if firsts is None else [firsts[index, seen.shape[1] - middle :]]
            rows.append(np.concatenate([*first, seconds[index, : length - middle]]))
        return rows


def _part(example: Example, start: int, end: int) -> Example:
    return {name: values[start:end] for name, values in example.items()}


def _length(what: Deliverable, example: Example) -> int:
    """Positions of a text at which there are outputs."""
    name = "decoder_input_ids" if "decoder_input_ids" in what.inputs else "input_ids"
    return int(example[name].shape[-1])


def _by_row(what: Deliverable, outputs: Sequence[Any], length: int | None = None) -> Floats:
    """The outputs (N, V) of one text, of those that the file or the model gives of it."""
    if what.embedding is None and what.anatomy.predicts == Predicted.SPANS:
        return np.stack([output[:length] for output in outputs])
    rows = outputs[0] if what.has_positions else outputs[0][None]
    if what.embedding is None and what.anatomy.predicts == Predicted.CHOICES:
        rows = rows.reshape(1, -1)
    found: Floats = rows[:length] if what.has_positions else rows
    return found
