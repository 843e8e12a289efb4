"""Compilation of programs that JAX must not keep in its folder of compiled ones."""

import contextlib
import threading

import jax

LEAST = "jax_persistent_cache_min_compile_time_secs"
_lock = threading.Lock()
_inside: list[float] = []  # the value before, once for each use that is open


@contextlib.contextmanager
def nothing_kept():
    """What is compiled within it is not written to JAX's folder of compiled programs, by any
    thread; what is there already is read."""
    with _lock:
        _inside.append(_inside[0] if _inside else getattr(jax.config, LEAST))
        jax.config.update(LEAST, float("inf"))
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                jax.config.update(LEAST, before)
