"""Names that come out of a file stay inside a folder."""

from __future__ import annotations

from typing import Any

import pytest

from lit_distill.errors import UserError
from lit_distill.files.file_names import check_file_name

HOSTILE: list[Any] = [
    "../up", "..", ".", "", "/etc/passwd", "a/../../b", "a\\b", "C:\\x", "a\0b", "a\nb", ".hidden",
    "con", "NUL.txt", "lpt1", "x" * 200, "ends.", "ends ", "-option", "~/x", "a//b", "a/",
    "/x", "/etc", "\\x", ":x", "|x", "*", "?", "<x", "conin$", "com¹", 7, None, b"x",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
@pytest.mark.parametrize("folders", [False, True])
def test_names_that_lead_elsewhere_are_refused(name: Any, folders: bool) -> None:
    with pytest.raises(UserError, match=r"inside its folder.*Nothing was written"):
        check_file_name(name, "The file", folders)


@pytest.mark.parametrize(
    "name", ["tokenizer.json", "special_tokens_map.json", "student", "hi-en@10", "भाषा", "a_b-c.d"]
)
def test_ordinary_names_are_given_back(name: str) -> None:
    assert check_file_name(name, "The file") == name
    inner = f"additional_chat_templates/{name}"
    assert check_file_name(inner, "The file", folders=True) == inner
    with pytest.raises(UserError):
        check_file_name(inner, "The file")
