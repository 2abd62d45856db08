"""What `check` is asked for in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Check = Callable[..., dict[str, Any]]
"""From options to what `check --json` prints."""
