"""For tests that compile much and compute little: imported by the conftest of their folder."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_to_compile():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
