"""What to do where a file cannot be written: only a full disk wants room."""

from __future__ import annotations

import errno

LOCKED = (errno.EROFS, errno.EACCES, errno.EPERM)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None)  # NumPy's own error has no number


def remedy(error: OSError, option: str) -> str:
    """The end of a message.

    Args:
        error: as it was raised.
        option: by which the user chooses the folder.
    """
    if error.errno in LOCKED:
        return f"Choose another {option}, in which you may write."
    if error.errno in _FULL:
        return f"Make room or choose another {option}."
    return f"Choose another {option}."
