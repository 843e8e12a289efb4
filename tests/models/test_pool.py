"""Pooling, resizing and pixel scales of other frameworks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nn import imagenet
from jaxgen.nn.pool import average_pool, max_pool
from jaxgen.nn.resample import tf1_bilinear


def windows(x, window, stride, padding, ceil):
    """The pixels of each window of a [h, w] image, by torch's rule for where windows start."""
    starts = []
    for n in x.shape:
        whole, rest = divmod(n + 2 * padding - window, stride)
        count = whole + 1 + (ceil and rest > 0)  # one window past the last whole one
        first = [i * stride - padding for i in range(count)]
        starts.append([i for i in first if i < n])
    cut = lambda i, j: x[max(i, 0) : max(i + window, 0), max(j, 0) : max(j + window, 0)]
    return [[cut(i, j) for j in starts[1]] for i in starts[0]]


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize(
    ("size", "window", "stride", "padding"),
    [
        ((9, 12), 3, 2, 0),
        ((8, 3), 3, 2, 0),
        ((7, 6), 2, 2, 0),
        ((6, 7), 3, 1, 1),
        ((6, 7), 3, 2, 1),
    ],
)
def test_max_pool(size, window, stride, padding, ceil):
    x = np.random.RandomState(0).randn(*size).astype(np.float32)
    want = [[w.max() for w in row] for row in windows(x, window, stride, padding, ceil)]
    found = max_pool(x[None, :, :, None], window, stride, padding, ceil=ceil)
    np.testing.assert_array_equal(found[0, :, :, 0], want)


def test_ceil_sizes_of_squeezenet():
    sizes = lambda n: [
        n := max_pool(jnp.zeros((1, n, n, 1)), 3, 2, ceil=True).shape[1] for _ in "abc"
    ]
    assert sizes(111) == [55, 27, 13]
    assert sizes(113) == [56, 28, 14]
    assert sizes(49) == [24, 12, 6]
    with pytest.raises(ValueError, match="does not fit"):
        max_pool(jnp.zeros((1, 1, 9, 1)), 3, 2, ceil=True)
    with pytest.raises(ValueError, match="does not fit"):
        max_pool(jnp.zeros((1, 2, 9, 1)), 3, 2)


def test_max_pool_has_the_gradient_of_the_largest_also_where_pixels_are_cut_off():
    x = jnp.arange(36.0).reshape(1, 6, 6, 1)
    gradient = jax.grad(lambda x: max_pool(x, 3, 2).sum())(x)[0, :, :, 0]
    want = np.zeros((6, 6))
    want[np.ix_([2, 4], [2, 4])] = 1
    np.testing.assert_array_equal(gradient, want)


@pytest.mark.parametrize("count_padding", [False, True])
def test_average_pool(count_padding):
    x = np.random.RandomState(0).randn(5, 7).astype(np.float32)
    total = 9 if count_padding else None
    want = [[w.sum() / (total or w.size) for w in row] for row in windows(x, 3, 1, 1, False)]
    found = average_pool(x[None, :, :, None], 3, 1, 1, count_padding=count_padding)
    np.testing.assert_allclose(found[0, :, :, 0], want, rtol=1e-5, atol=1e-6)
    whole = average_pool(x[None, :4, :6, None], 2, 2)[0, :, :, 0]
    np.testing.assert_allclose(whole, x[:4, :6].reshape(2, 2, 3, 2).mean((1, 3)), rtol=1e-5)


def test_tf1_bilinear_reads_at_i_times_in_over_out():
    ramp = jnp.broadcast_to(jnp.arange(4.0)[None, :, None, None], (1, 4, 3, 1))
    twice = tf1_bilinear(ramp, 8, 3)[0, :, 0, 0]
    np.testing.assert_array_equal(twice, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3])  # no half-pixel shift
    np.testing.assert_array_equal(tf1_bilinear(ramp, 2, 3)[0, :, 0, 0], [0, 2])  # no smoothing
    np.testing.assert_array_equal(tf1_bilinear(ramp, 4, 3), ramp)
    x = np.random.RandomState(0).randn(1, 20, 31, 2)
    rows, columns = np.arange(299) * 20 / 299, np.arange(299) * 31 / 299
    i, j = rows.astype(int), columns.astype(int)
    u, v = (rows - i)[:, None, None], (columns - j)[:, None]
    i1, j1 = np.minimum(i + 1, 19), np.minimum(j + 1, 30)
    y = x[0]
    top = y[i][:, j] * (1 - v) + y[i][:, j1] * v
    low = y[i1][:, j] * (1 - v) + y[i1][:, j1] * v
    found = tf1_bilinear(jnp.asarray(x, jnp.float32), 299, 299)
    np.testing.assert_allclose(found[0], top * (1 - u) + low * u, atol=2e-5)


def test_pixels():
    x = jnp.asarray([[[[-1.0, 0.0, 1.0]]]])
    want = [255 - 103.939, 127.5 - 116.779, -123.68]
    np.testing.assert_allclose(imagenet.caffe(x)[0, 0, 0], want, rtol=1e-6)
    want = [-0.485 / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(imagenet.torchvision(x)[0, 0, 0], want, rtol=1e-6)
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    np.testing.assert_allclose(imagenet.torchvision(x), (x - shift) / scale, rtol=1e-6)  # LPIPS'
    assert imagenet.rgb(x) is x
    np.testing.assert_array_equal(imagenet.rgb(x[..., :1]), -jnp.ones((1, 1, 1, 3)))
    clear = jnp.concatenate([x, -jnp.ones((1, 1, 1, 1))], -1)
    np.testing.assert_array_equal(imagenet.rgb(clear), jnp.ones((1, 1, 1, 3)))
    solid = jnp.concatenate([x, jnp.ones((1, 1, 1, 1))], -1)
    np.testing.assert_array_equal(imagenet.rgb(solid), x)
    with pytest.raises(ValueError, match="channels"):
        imagenet.rgb(jnp.zeros((1, 1, 1, 2)))
