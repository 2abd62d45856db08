"""The one error that is the user's to read."""


class UserError(ValueError):
    """Something the user gave cannot work: what was found, why, and what to use instead.

    The command line prints it as one line and exits with code 2.
    """
