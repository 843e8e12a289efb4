"""Shapes are checked; these tests compile much and compute little."""

import jax
import pytest
from jaxtyping import install_import_hook
from threadpoolctl import threadpool_limits

install_import_hook("jaxgen.metrics", "beartype.beartype")


@pytest.fixture(autouse=True, scope="module")
def _quick_to_compile():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    # On a busy machine LAPACK's threads wait for each other for most of the time.
    with threadpool_limits(1):
        yield
    jax.config.update("jax_disable_most_optimizations", before)
