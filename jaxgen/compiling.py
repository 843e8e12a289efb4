"""Compilation for the devices at hand, with JAX's folder of compiled programs in mind."""

import contextlib

import jax


@contextlib.contextmanager
def nothing_kept():
    """What is compiled within it is not written to JAX's folder of compiled programs."""
    name = "jax_persistent_cache_min_compile_time_secs"
    before = getattr(jax.config, name)
    jax.config.update(name, float("inf"))
    try:
        yield
    finally:
        jax.config.update(name, before)
