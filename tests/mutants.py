"""Bugs that peers have shipped or that we feared, planted one at a time.

Each is one textual change in one file and the tests that must turn red; `test_mutants.py` plants
them in a copy of the project. They lie in `planted`, by the part of the project that has the bug.
"""

from __future__ import annotations

from planted.data import DATA
from planted.losses import LOSSES
from planted.methods import METHODS
from planted.models import MODELS
from planted.mutant import Mutant as Mutant
from planted.prompts import PROMPTS
from planted.tables import TABLES
from planted.training import TRAINING
from planted.writing import WRITING

MUTANTS = (*TRAINING, *LOSSES, *MODELS, *METHODS, *WRITING, *DATA, *PROMPTS, *TABLES)
