"""Starts JAX for a command: its memory, its cache of compiled programs, the cluster."""

import ctypes
import importlib.util
import os
import tempfile

from jaxgen.errors import UserError


def keep_memory() -> None:
    """Lets the process keep what it frees, where XLA is to compute on the CPU; before JAX starts.

    XLA asks for its scratch memory anew at each call, and glibc would fetch it from the system,
    page by page, and give it back: a seventh of the time of a DCGAN round (64 px, batch 128).
    """
    accelerators = map(importlib.util.find_spec, ("jax_plugins", "libtpu"))
    if any(accelerators) and os.environ.get("JAX_PLATFORMS") != "cpu":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:  # glibc
        trim_threshold, mmap_max, arena_max = -1, -4, -8  # as malloc.h numbers them
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)
        mallopt(arena_max, 1)


def _programs() -> str | None:
    """The folder in which compiled programs are kept; None, with a line, where there is none."""
    from jaxgen.files import keeping, kept_folder
    from jaxgen.progress import say

    try:
        folder = kept_folder("xla")
        with keeping(folder):
            tempfile.TemporaryFile(dir=folder).close()
        return str(folder)
    except UserError as error:
        say(f"compiled programs are not kept: {error}")
        return None


def start_jax(multihost: bool = False) -> None:
    """Imports JAX with a persistent compilation cache, and joins the cluster if asked to.

    JAX_ENABLE_X64 is left aside, with a line that says so.  No usable device is a UserError.
    """
    keep_memory()
    import jax

    from jaxgen.progress import say

    if jax.config.read("jax_enable_x64"):
        jax.config.update("jax_enable_x64", False)
        say("JAX_ENABLE_X64 is left aside: weights are float32, and so are all runs")
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", _programs())
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if multihost:
        from jaxgen.train.devices import start_processes

        start_processes()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # a platform that is missing, or none left
        reason = str(error).split("\n")[0] or f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')}"
        raise UserError(f"JAX has no device to run on ({reason}); check JAX_PLATFORMS") from error
