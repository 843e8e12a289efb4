"""The error that is the user's to fix."""


class UserError(Exception):
    """A wrong flag, path, image, recipe or checkpoint: one line with the fix; exit code 2."""


class MissingData(UserError):
    """Data that does not lie where it is said to."""


class NoSplit(UserError):
    """A split that the data does not have."""
