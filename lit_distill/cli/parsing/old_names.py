"""What was called otherwise in an earlier version, so that an old config is told the new name.

Only a name that means nothing any more is looked up here: classes and options of a user that are
called like an old one of ours stay what they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from lit_distill.cli.parsing.modules import OURS

PACKAGES = (
    "lit_distill.methods",
    "data_modules",
    "callbacks",
    "lit_distill.losses",
    "lit_distill.models",
    "lit_distill.schedules",
    "lit_distill.training.states",
)
"""Where configs find our classes, in whatever file these are: `lit_distill.methods.TripleLoss`."""

CLASSES = {
    "CarvedStudent": "LayerCopyStudent",
    "Plain": "NoTargets",
    "RetokenisedStudent": "VocabularyTransferStudent",
    "Teacher": "TeacherSpec",
}
"""New names of classes, by the old one."""

OPTIONS = {
    ("TripleLoss", "alpha_ce"): "alpha_kd",
    ("TripleLoss", "restrict_ce_to_mask"): "restrict_kd_to_mask",
}
"""New names of options, by class and old name."""


def new_class(path: str, roots: Sequence[type]) -> str:
    """What a class is called now that is not found as a config names it; empty if that is unknown.

    Args:
        path: the name, bare or with the module in which the class was once.
        roots: the classes one of which it must inherit from; none where that is not known.
    """
    module, _, name = path.rpartition(".")
    if module and module.split(".")[0] not in OURS:
        return ""
    new = CLASSES.get(name, name)
    for package in (one for one in PACKAGES if one in sys.modules):
        found = vars(sys.modules[package]).get(new)
        if isinstance(found, type) and (not roots or issubclass(found, tuple(roots))):
            now = f"{package}.{new}" if module else new
            return "" if now == path else now
    return ""


def new_option(owner: Any, option: str) -> str:
    """What an option that a class does not have is called now; empty if that is unknown.

    Args:
        owner: the class; an option of its bases is one of its own.
        option: the old name.
    """
    kinds = owner.__mro__ if isinstance(owner, type) else ()
    names = (OPTIONS.get((kind.__name__, option)) for kind in kinds if _is_ours(kind))
    return next((name for name in names if name), "")


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] in OURS
