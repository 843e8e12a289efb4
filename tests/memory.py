"""What tests have finished with goes back to the system, so that a worker stays small."""

import ctypes
import gc
import os

import jax


def forget_programs():
    """What was slow to compile stays in the cache on disk."""
    jax.clear_caches()
    give_back()


def give_back():
    """glibc keeps a gigabyte of what XLA's compiler frees, until it is asked."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None:
        trim(0)
