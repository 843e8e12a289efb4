"""For tests that compile much and compute little: imported by the conftest of their folder."""

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def quick_to_compile():
    before = jax.config.read("jax_disable_most_optimizations")
    _switch(True)
    yield
    _switch(before)


def _switch(disable: bool):
    """jit would go on with programs of the other setting: it keeps them whatever the setting is.

    The persistent cache does not: the setting is a part of its keys.
    """
    jax.config.update("jax_disable_most_optimizations", disable)
    jax.clear_caches()
