"""The errors that are the user's to fix."""


class UserError(Exception):
    """A wrong flag, path, image, recipe or checkpoint: one line with the fix; exit code 2."""


class MissingData(UserError):
    """Data that does not lie where it is said to."""


class NoSplit(UserError):
    """A split that the data does not have."""


def memory_is_full(error: BaseException) -> bool:
    """Whether it says that the memory of the host or of a device has no room; JAX need not run."""
    device = type(error).__name__ == "JaxRuntimeError" and "RESOURCE_EXHAUSTED" in str(error)
    return device or isinstance(error, MemoryError)
