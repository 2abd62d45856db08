"""Names of files that come out of a file: nothing is written where such a name leads elsewhere."""

from __future__ import annotations

import re

from lit_distill.errors import UserError

_PART = re.compile(r"""(?![\s.~-])[^/\\:*?"<>|]{1,120}""")  # all scripts; hidden files are not ours
_DEVICES = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|com[\d¹²³]|lpt[\d¹²³])(\..*)?", re.IGNORECASE
)


def check_file_name(name: object, whose: str, folders: bool = False) -> str:
    """Gives back a name that stays inside the folder to which it is joined.

    Args:
        name: as it was read.
        whose: what names it, for the message.
        folders: may have folders in it, as `additional_chat_templates/tool.jinja`.

    Raises:
        UserError: it is no text, absolute, hidden, goes upwards, or is no name of a file.
    """
    parts = name.split("/") if isinstance(name, str) and folders else [name]
    for part in parts:
        sound = isinstance(part, str) and part.isprintable() and not part.endswith((".", " "))
        if not sound or not _PART.fullmatch(str(part)) or _DEVICES.fullmatch(str(part)):
            raise UserError(
                f"{whose} names a file {str(name)[:80]!r}, which is no name of a file inside its "
                "folder: it is damaged, or meant to write elsewhere. Nothing was written."
            )
    return str(name)
