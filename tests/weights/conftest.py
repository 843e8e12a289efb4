"""These tests compile much and compute little; none reaches the network or the user's cache."""

import socket

import jax
import pytest


@pytest.fixture(autouse=True, scope="module")
def _quick_to_compile():
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    """An empty cache, and no names but this machine's own."""
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "cache"))
    known = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        if host not in ("127.0.0.1", "localhost"):
            raise socket.gaierror(-2, "Name or service not known")
        return known(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
