"""The one error that is the user's to fix."""


class UserError(Exception):
    """A wrong flag, path, image, recipe or checkpoint: one line with the fix; exit code 2."""
