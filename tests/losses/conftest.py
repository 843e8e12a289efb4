"""These tests compile much and compute little."""

from tests.quick import quick_to_compile  # noqa: F401
