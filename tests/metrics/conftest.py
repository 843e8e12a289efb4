"""Shapes are checked; these tests compile much and compute little."""

import pytest
from threadpoolctl import threadpool_limits

from tests.quick import quick_to_compile  # noqa: F401


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    # On a busy machine LAPACK's threads wait for each other for most of the time.
    with threadpool_limits(1):
        yield
