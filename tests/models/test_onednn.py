"""Convolutions by oneDNN against JAX's own, and that nothing depends on it."""

import platform
import sys
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxgen.compiling import LEAST, nothing_kept
from jaxgen.nn import conv_vjp, onednn
from jaxgen.nn.conv import conv, conv_transpose
from jaxgen.planning.flops import flops
from jaxgen.train import devices
from tests.models.test_conv import jax_conv, jax_conv_transpose, slope_loss

needed = pytest.mark.skipif(not onednn._works(), reason="this XLA has no oneDNN")


@pytest.fixture(autouse=True)
def small_layers(monkeypatch):
    monkeypatch.setattr(conv_vjp, "ENOUGH", 0)


def calls(f, *arguments) -> int:
    return str(jax.make_jaxpr(f)(*arguments)).count(onednn.TARGET)


@needed
@pytest.mark.parametrize(
    ("k", "stride", "padding"),
    [(3, 1, 1), (4, 2, 1), (5, 2, "SAME"), (3, 2, 0), (5, 3, "SAME"), ((2, 3), 1, 0), (1, 1, 0)],
)
@pytest.mark.parametrize(("ours", "jaxs"), [(conv, jax_conv), (conv_transpose, jax_conv_transpose)])
def test_like_jax_to_the_second_derivative(ours, jaxs, k, stride, padding):
    keys = jax.random.split(jax.random.key(0))
    side = (41, 38) if ours is conv else (28, 26)  # many pixels after a stride of 3, too
    x = jax.random.normal(keys[0], (26 if stride == 3 else 12, *side, 6))
    window = k if isinstance(k, tuple) else (k, k)
    ends = (6, 7) if ours is conv else (7, 6)
    kernel = 0.1 * jax.random.normal(keys[1], (*window, *ends))
    want = slope_loss(lambda x, kernel: jaxs(x, kernel, stride, padding))(x, kernel)
    with onednn.allowed():
        loss = slope_loss(lambda x, kernel: ours(x, kernel, stride, padding))
        phases = stride**2 if min(window) >= stride else 0
        assert calls(loss, x, kernel) >= 1 + phases
        got = loss(x, kernel)
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5 * float(jnp.abs(a).max()))


@needed
def test_only_layers_of_enough_work(monkeypatch):
    x, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 7))  # of 96,768 FLOPs
    with onednn.allowed():
        for enough, found in ((96_768, 1), (96_769, 0)):
            monkeypatch.setattr(conv_vjp, "ENOUGH", enough)
            f = lambda x, kernel: conv(x, kernel, padding=1)
            assert calls(f, x, kernel) == found


@needed
def test_only_within_allowed_and_in_float32():
    x, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 7))
    own = lambda x, kernel: conv(x, kernel, padding=1)  # a function traced anew
    again = lambda x, kernel: conv(x, kernel, padding=1)
    assert calls(own, x, kernel) == 0
    with onednn.allowed():
        assert calls(again, x, kernel) == 1
        assert calls(own, x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)) == 0
        with onednn.allowed(False):
            assert not onednn.is_allowed()
    assert not onednn.is_allowed()


@needed
@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_copies_by_vmap(axes):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (3, 2, 8, 9, 6)[axes[0] is None :])
    kernel = jax.random.normal(keys[1], (3, 3, 3, 6, 7)[axes[1] is None :])
    f = lambda x, kernel: conv(x, kernel, padding=1)
    want = jax.vmap(f, axes)(x, kernel)
    with onednn.allowed():
        got = jax.vmap(lambda x, kernel: conv(x, kernel, padding=1), axes)(x, kernel)
    np.testing.assert_allclose(want, got, rtol=1e-4, atol=1e-4)


@needed
def test_its_flops_are_those_of_the_convolution():
    x, kernel = jnp.ones((12, 28, 26, 6)), jnp.ones((4, 4, 6, 7))
    loss = lambda x, kernel: conv(x, kernel, 2, 1).sum()
    count = lambda f: sum(flops(jax.make_jaxpr(jax.grad(f, (0, 1)))(x, kernel), "cpu").values())
    want = count(loss)
    with onednn.allowed():
        assert calls(loss, x, kernel)
        got = count(lambda x, kernel: conv(x, kernel, 2, 1).sum())
    assert got == pytest.approx(want, rel=1e-6)


@needed
def test_its_programs_are_not_kept(tmp_path):
    names = ("jax_compilation_cache_dir", LEAST)
    usual = [getattr(jax.config, name) for name in names]
    x, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 7))
    kept = lambda: len(list(tmp_path.glob("*-cache")))
    try:
        for name, value in zip(names, (str(tmp_path), 0), strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        with onednn.allowed():
            onednn.compiled(jax.jit(lambda x, kernel: conv(x, kernel)).trace(x, kernel))
        assert kept() == 0
        with nothing_kept():
            jax.jit(lambda x: x + 3).lower(x).compile()
        assert kept() == 0
        onednn.compiled(jax.jit(lambda x: x + 2).trace(x))
        assert kept() == 1
    finally:
        for name, value in zip(names, usual, strict=True):
            jax.config.update(name, value)
        compilation_cache.reset_cache()


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="other processors' XLA"
)
def test_versions_that_were_tried_have_it():
    assert onednn._works() == (metadata.version("jaxlib") in onednn.TRIED)


@needed
def test_what_was_traced_within_stays_there():
    """A function with a trace of its own is traced anew on the other side."""
    x, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 7))
    net = jax.jit(lambda x, kernel: conv(x, kernel, padding=1))
    with onednn.allowed():
        assert calls(net, x, kernel) == 1
    assert calls(net, x, kernel) == 0
    with onednn.allowed():
        assert calls(net, x, kernel) == 1


@needed
def test_nothing_is_convolved_without_it():
    with onednn.allowed():
        none = conv(jnp.ones((2, 8, 8, 0)), jnp.ones((3, 3, 0, 6)), padding=1)
    assert none.shape == (2, 8, 8, 6)
    assert not none.any()


def test_two_uses_that_overlap_keep_nothing():
    read = lambda: getattr(jax.config, LEAST)
    before = read()
    first, second = nothing_kept(), nothing_kept()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert read() == float("inf")
    second.__exit__(None, None, None)
    assert read() == before


@pytest.mark.parametrize("change", [("TARGET", "__of_another_version"), ("TRIED", set())])
def test_without_it_nothing_else_is_lost(monkeypatch, change):
    monkeypatch.setattr(onednn, *change)
    onednn._works.cache_clear()
    try:
        with onednn.allowed():
            assert not onednn.is_allowed()
            x, kernel = jnp.ones((2, 8, 8, 6)), jnp.ones((3, 3, 6, 7))
            assert conv(x, kernel, padding=1).shape == (2, 8, 8, 7)
    finally:
        onednn._works.cache_clear()


@needed
def test_where_its_answer_is_wrong_it_is_left_out(monkeypatch):
    call = onednn._call
    monkeypatch.setattr(onednn, "_call", lambda *xs, **how: call(*xs, **how) + 1)
    onednn._works.cache_clear()
    try:
        assert not onednn._works()
    finally:
        onednn._works.cache_clear()


@needed
def test_training_programs_on_a_cpu_use_it():
    program = devices.AutoLayout(lambda k, x: (k, conv(x, k).sum()), devices.make_mesh())
    x, kernel = jnp.ones((8, 8, 8, 6)), jnp.ones((3, 3, 6, 7))
    assert onednn.TARGET in str(program.trace(kernel, x).jaxpr)
