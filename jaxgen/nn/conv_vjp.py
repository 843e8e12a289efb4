"""Strided convolution and its transpose, fast to differentiate to any order.

A strided convolution S(big, kernel) -> small, its transpose T(small, kernel) -> big and its weight
gradient F(big, small) -> kernel are derivatives of one trilinear form: the backward pass of each
is made of the other two. JAX's own rules write the weight gradient of T, and with it every second
derivative of S (gradient penalties), as a convolution over a zero-inserted image, which no backend
has a fast form for. Here every order of reverse mode stays within S, T and F; forward mode (jvp) is
not supported.

On a CPU the form follows from the layer's shape. Measured on 2 cores, milliseconds, 4x4 window and
stride 2 where nothing else is said (tables: experiments/benchmarks/results/convolutions-cpu.md):

- T is one matrix product if the window is whole steps; the parts are added up where they belong in
  the image. 128 -> 64 channels, 16 -> 32 px, batch 128, with batch normalisation after it: 32 (38
  as a convolution of the zero-inserted image). F of this layer takes 17 at batch 64, by JAX's rule
  800.
- Where weights are more than pixels S and F are one product, too, for what takes time is to flip or
  transpose the kernel: with the layer between 4 px of 512 channels and 2 px of 1024, batch 1, S
  takes 1.0 (2.5 as a convolution), T 1.4 (37) and F 1.0 (2.5).
- Of stride 1, S and F of a layer to a few colours, and T of a layer from them, are one product of
  whole images: 7x7, 64 and 3 channels, 256 px, batch 1, S takes 4.8 (27), F 9.1 (29), T 8.4 (30).
- Else F is a convolution with the batch for channels; 3x3, 64 channels, 24 px, batch 16: 2.1, in a
  loop (`lax.scan`), too, where XLA's own rule takes 420. Sums of matrix products, one a tap or of
  patches, take 5.5 there and are nowhere more than a tenth faster.
- In three dimensions XLA's T and F are slow in themselves: with the layer 64 -> 32 channels, 16^3
  -> 32^3, batch 2, they take 1330 and 584, one product and a sum of one a block of the kernel 10
  and 15. S as such a sum is up to ten times faster, too: 1 -> 32 channels, 32^3 -> 16^3, batch 32,
  on one core: 24 (230); 32 -> 64, 16^3 -> 8^3: 91 (175). GPUs and TPUs have their own: compiled
  for four H100 (not timed on one), a round of 3D-GAN's paper recipe moves 15.8 GB a device, and by
  products 67.0; for four TPU v5e 8.7 and 49.1.
- In training programs S, and T as a convolution of stride 1 for each of its phases, are oneDNN's
  for most layers of enough work (`jaxgen.nn.onednn`).
- T of a single pixel, a generator's first layer, is the kernel's product with it, on every
  platform; as a convolution it multiplies what the pixel's padding makes zeros: 100 -> 512
  channels, 4x4, batch 64, on one core: 2.4 (29); in 3D-GAN, 200 -> 128, 4x4x4, batch 32: 4.5 (141).
- T of an image of fewer pixels than the window has is one product on every platform, too: as a
  convolution XLA would exchange its operands and pad the kernel to the size of the result. Compiled
  for four H100 (not timed on one), a round of DCGAN at 64 px, 5x5, with the paper's widths takes
  0.27 GiB beside its states then (0.42), and of what it pads 287 MB are left of 680.
"""

import functools
import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim

from jaxgen.nn import onednn

ENOUGH = 1e8  # FLOPs of a layer for oneDNN


class Geometry(NamedTuple):
    """Pixel j of the small image reads the pixels j * stride - low, ... (k of them) of the big."""

    stride: int
    low: tuple[int, ...]
    window: tuple[int, ...]
    big: tuple[int, ...]
    small: tuple[int, ...]
    library: bool = False  # oneDNN, where it is fast

    def pads(self):
        """Low and high padding of the big image, by axis; negative where it is not read."""
        sides = zip(self.low, self.window, self.big, self.small, strict=True)
        return [(low, (n - 1) * self.stride + k - m - low) for low, k, m, n in sides]


def forward(geometry: Geometry, big: jax.Array, kernel: jax.Array) -> jax.Array:
    """S: [b, *big, c], [*window, c, d] -> [b, *small, d]."""
    return _strided(geometry, *_alike(big, kernel))


def transpose(geometry: Geometry, small: jax.Array, kernel: jax.Array) -> jax.Array:
    """T: [b, *small, d], [*window, c, d] -> [b, *big, c], the gradient of S."""
    return _transposed(geometry, *_alike(small, kernel))


def _alike(*arrays):
    """The arrays, all varying over the mesh axes that any of them varies over. The transpose of
    this cast sums a weight's gradient over the devices, which a custom gradient must not do."""
    axes = [jax.typeof(array).manual_axis_type.varying for array in arrays]
    missing = [tuple(frozenset().union(*axes) - own) for own in axes]
    return [lax.pcast(x, names, to="varying") for x, names in zip(arrays, missing, strict=True)]


def _convolve(image, kernel, pads, strides=1, image_step=1, kernel_step=1):
    # Always channels last, with transpositions where needed: on the CPU any other layout is up to
    # 30 times slower inside a loop (`lax.scan` over minibatches), though not outside.
    n = len(pads)
    # With a negative low padding and a high one XLA's CPU reads what lies beside the image.
    if any(low < 0 for low, _ in pads):
        cut = [(min(low, 0), min(high, 0), image_step - 1) for low, high in pads]
        image = lax.pad(image, jnp.zeros((), image.dtype), [(0, 0, 0), *cut, (0, 0, 0)])
        pads, image_step = [(max(low, 0), max(high, 0)) for low, high in pads], 1
    return lax.conv_general_dilated(
        image,
        kernel,
        (strides,) * n,
        pads,
        lhs_dilation=(image_step,) * n,
        rhs_dilation=(kernel_step,) * n,
        dimension_numbers=tuple(s.replace("_", "DHW"[-n:]) for s in ("N_C", "_IO", "N_C")),
    )


def _in_form(geometry, *arrays, default, cpu):
    """default(geometry, *arrays), or what `cpu` makes of them on a CPU."""
    forms = {"default": default, "cpu": cpu}
    forms = {name: functools.partial(form, geometry) for name, form in forms.items()}
    return forms["cpu"](*arrays) if cpu is default else lax.platform_dependent(*arrays, **forms)


def _few(geometry, images, channels):
    """True for few pixels and many weights: reading the weights takes most of the time then, and
    they should be multiplied as they lie."""
    return _at_most(4 * len(images) * math.prod(geometry.small), channels)


def _colours(geometry, batch, channels):
    """True for images of few channels that are written or read with stride 1, if the rows for them
    (see below) take no more than a quarter of a GiB in float32."""
    rows = [
        math.prod(geometry.window) * channels * batch * math.prod(sides)
        for sides in (geometry.big, geometry.small)
    ]
    return geometry.stride == 1 and channels <= 4 and all(_at_most(n, 2**26) for n in rows)


def _t_suits_onednn(geometry, small, kernel):
    """True where its phases (see below) are no slower than a product: of stride 1, and for many
    pixels of many channels."""
    if not _suits_onednn(geometry, small, kernel) or min(geometry.window) < geometry.stride:
        return False
    many = len(small) * math.prod(geometry.small) > 4096 and kernel.shape[-2] > 4
    pads = [pads for phase in _phases(geometry) for pads in phase[1]]
    return (geometry.stride == 1 or many) and _not_negative(pads)


def _suits_onednn(geometry, images, kernel):
    """True for layers of enough work: what smaller ones gain is less than what it takes to compile
    their programs in each process."""
    if not geometry.library or not onednn.takes(images, kernel):
        return False
    return 2 * len(images) * math.prod(geometry.small) * kernel.size >= ENOUGH


def _not_negative(pads):
    return all(low >= 0 and high >= 0 for low, high in pads)


def _at_most(n, most):
    """True for n <= most; a size that an exported program leaves open counts as more."""
    return not is_symbolic_dim(n) and n <= most


def _s(geometry, big, kernel):
    default = cpu = _s_by_convolution
    if geometry.stride > 1 and len(geometry.window) == 3:
        cpu = _s_by_blocks
    elif _few(geometry, big, kernel.shape[-1]):
        cpu = _s_by_product
    elif math.prod(geometry.window) > 1 and _colours(geometry, len(big), kernel.shape[-1]):
        cpu = _s_to_colours
    elif _suits_onednn(geometry, big, kernel) and _not_negative(geometry.pads()):
        cpu = _s_by_onednn
    return _in_form(geometry, big, kernel, default=default, cpu=cpu)


def _t(geometry, small, kernel):
    default = cpu = _t_by_convolution
    window, strided = math.prod(geometry.window), geometry.stride > 1
    fewer = _at_most(math.prod(geometry.small), window - 1)  # pixels than the window has
    whole = not any(k % geometry.stride for k in geometry.window)  # steps
    if math.prod(geometry.small) == 1:
        default = cpu = _t_of_pixel
    elif strided and fewer:
        default = cpu = _t_by_product
    elif window > 1 and _colours(geometry, len(small), kernel.shape[-2]):
        cpu = functools.partial(_alone, _t_to_colours)
    elif _t_suits_onednn(geometry, small, kernel):
        cpu = _t_by_onednn
    elif strided and (len(geometry.window) == 3 or whole):
        cpu = _t_by_product
    return _in_form(geometry, small, kernel, default=default, cpu=cpu)


def _f(geometry, big, small):
    default = cpu = _f_by_convolution
    if geometry.stride > 1 and len(geometry.window) == 3:
        return _in_form(geometry, big, small, default=default, cpu=_f_by_blocks)
    if _few(geometry, big, small.shape[-1]):
        cpu = _f_by_product
    elif _colours(geometry, len(small), small.shape[-1]):
        cpu = _f_of_colours
    return _in_form(geometry, big, small, default=default, cpu=functools.partial(_alone, cpu))


def _s_by_convolution(geometry, big, kernel):
    return _convolve(big, kernel, geometry.pads(), strides=geometry.stride)


def _t_by_convolution(geometry, small, kernel):
    ends = zip(geometry.window, geometry.pads(), strict=True)
    pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in ends]
    flipped = lax.rev(kernel, range(len(pads))).swapaxes(-1, -2)
    return _convolve(small, flipped, pads, image_step=geometry.stride)


def _s_by_onednn(geometry, big, kernel):
    return onednn.convolve(big, kernel, geometry.pads(), geometry.stride)


def _t_by_onednn(geometry, small, kernel):
    """For each a the pixels stride * m + a of the big image are a convolution of the small one."""
    parts = [
        onednn.convolve(small, lax.rev(kernel[taps], (0, 1)).swapaxes(-1, -2), pads)
        for taps, pads in _phases(geometry)
    ]
    stride, (b, *count, c) = geometry.stride, parts[0].shape
    y = jnp.stack(parts, 3).reshape(b, *count, stride, stride, c).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(b, *(n * stride for n in count), c)
    return _shifted(y, (0, 0), geometry.big)


def _phases(geometry):
    """(taps, paddings) of each of them, in the order of a: pixel stride * m + a is written by the
    taps t = a + low, modulo stride, of the pixels m + (a + low - t) / stride."""
    axes = []
    for low, k, m, n in zip(
        geometry.low, geometry.window, geometry.big, geometry.small, strict=True
    ):
        steps = [divmod(a + low, geometry.stride) for a in range(geometry.stride)]
        taps = [range(start, k, geometry.stride) for _, start in steps]
        count = -(-m // geometry.stride)
        axes.append(
            [
                (slice(start, k, geometry.stride), (len(own) - 1 - q, count + q - n))
                for (q, start), own in zip(steps, taps, strict=True)
            ]
        )
    return [tuple(zip(*phase, strict=True)) for phase in itertools.product(*axes)]


def _alone(form, geometry, *arrays):
    # XLA would fuse what leads to the images with their transposition, and compute it in that
    # order: batch normalisation in DCGAN, at 32 px, takes 80 ms instead of 10, a step of Langevin
    # dynamics on a digit's energy 16 instead of 9. It does not fuse across a branch (barriers are
    # gone before it fuses). This one is taken unless all is lost.
    probe = arrays[-1][(0,) * arrays[-1].ndim]
    f = functools.partial(form, geometry)
    shape = jax.eval_shape(f, *arrays).shape
    return lax.cond(~jnp.isnan(probe), f, lambda *_: jnp.broadcast_to(probe, shape), *arrays)


def _f_by_convolution(geometry, big, small):
    n = len(geometry.window)
    batch_last = (*range(1, n + 1), 0, n + 1)
    images, kernels = big.swapaxes(0, -1), small.transpose(batch_last)
    y = _convolve(images, kernels, geometry.pads(), kernel_step=geometry.stride)
    return y.transpose(batch_last)


_strided = jax.custom_vjp(_s, nondiff_argnums=(0,))
_transposed = jax.custom_vjp(_t, nondiff_argnums=(0,))
_weight_gradient = jax.custom_vjp(_f, nondiff_argnums=(0,))

_strided.defvjp(
    lambda geometry, big, kernel: (_strided(geometry, big, kernel), (big, kernel)),
    lambda geometry, saved, small: (
        _transposed(geometry, small, saved[1]),
        _weight_gradient(geometry, saved[0], small),
    ),
)
_transposed.defvjp(
    lambda geometry, small, kernel: (_transposed(geometry, small, kernel), (small, kernel)),
    lambda geometry, saved, big: (
        _strided(geometry, big, saved[1]),
        _weight_gradient(geometry, big, saved[0]),
    ),
)
_weight_gradient.defvjp(
    lambda geometry, big, small: (_weight_gradient(geometry, big, small), (big, small)),
    lambda geometry, saved, kernel: (
        _transposed(geometry, saved[1], kernel),
        _strided(geometry, saved[0], kernel),
    ),
)

# As one matrix product with the kernel as it lies, [(*window, c), d]. S and F first gather what the
# taps read; T adds up what they write.


def _s_by_product(geometry, big, kernel):
    return _taps(geometry, big) @ kernel.reshape(-1, kernel.shape[-1])


def _f_by_product(geometry, big, small):
    over = tuple(range(small.ndim - 1))
    kernel = jnp.tensordot(_taps(geometry, big), small, (over, over))
    return kernel.reshape(*geometry.window, big.shape[-1], small.shape[-1])


def _taps(geometry, big):
    """[b, *big, c] -> [b, *small, (*window, c)]: what each tap reads."""
    pads = [(0, 0, 0), *((*ends, 0) for ends in geometry.pads()), (0, 0, 0)]
    big = lax.pad(big, jnp.zeros((), big.dtype), pads)
    sides = [
        [slice(t, t + (n - 1) * geometry.stride + 1, geometry.stride) for t in range(k)]
        for k, n in zip(geometry.window, geometry.small, strict=True)
    ]
    return jnp.concatenate([big[(slice(None), *tap)] for tap in itertools.product(*sides)], -1)


def _t_by_product(geometry, small, kernel):
    """Tap t = stride * u + a of pixel j writes to stride * (j + u) + a - low. The window is filled
    up to whole steps."""
    n, stride, c = len(geometry.window), geometry.stride, kernel.shape[-2]
    blocks = _blocks(geometry)
    rest = [(0, m * stride - k) for m, k in zip(blocks, geometry.window, strict=True)]
    kernel = jnp.pad(kernel, [*rest, (0, 0), (0, 0)])
    y = jnp.einsum("...d,td->...t", small, kernel.reshape(-1, kernel.shape[-1]))
    y = y.reshape(*small.shape[:-1], *(side for m in blocks for side in (m, stride)), c)
    order = (0, *(axis for i in range(n) for axis in (1 + i, 1 + n + i)), 2 * n + 1)
    big: Any = 0
    for u in itertools.product(*map(range, blocks)):
        part = y[(slice(None),) * (n + 1) + tuple(x for i in u for x in (i, slice(None)))]
        part = part.transpose(order).reshape(len(y), *(k * stride for k in geometry.small), c)
        starts = [i * stride - low for i, low in zip(u, geometry.low, strict=True)]
        sides = zip(starts, geometry.small, geometry.big, strict=True)
        pads = [(start, m - k * stride - start, 0) for start, k, m in sides]
        big = big + lax.pad(part, jnp.zeros((), y.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    return big


def _t_of_pixel(geometry, small, kernel):
    y = jnp.einsum("bd,...d->b...", small.reshape(len(small), -1), kernel)
    sides = zip(geometry.low, geometry.window, geometry.big, strict=True)
    pads = [(0, 0, 0), *((-low, m - k + low, 0) for low, k, m in sides), (0, 0, 0)]
    return lax.pad(y, jnp.zeros((), y.dtype), pads)


# Stride 1, where one side has a few channels: as one matrix product, too, but with a row for each
# tap of each of these channels, which is a whole image. T adds up such rows, F reads them.


def _s_to_colours(geometry, big, kernel):
    """T from the other side: what pixel j + t - low of the big image is to pixel j, pixel
    q - t + low of the small one is to pixel q."""
    low = tuple(k - 1 - low for k, low in zip(geometry.window, geometry.low, strict=True))
    other = geometry._replace(low=low, big=geometry.small, small=geometry.big)
    flipped = lax.rev(kernel, range(len(low))).swapaxes(-1, -2)
    return _t_to_colours(other, big, flipped)


def _t_to_colours(geometry, small, kernel):
    c = kernel.shape[-2]
    rows = jnp.einsum("td,...d->t...", kernel.reshape(-1, kernel.shape[-1]), small)
    taps = enumerate(_writings(geometry))
    y = sum(lax.pad(rows[i * c : (i + 1) * c], jnp.zeros((), rows.dtype), p) for i, p in taps)
    return jnp.moveaxis(y, 0, -1)


def _f_of_colours(geometry, big, small):
    colours = jnp.moveaxis(small, -1, 0)
    rows = [lax.pad(colours, jnp.zeros((), small.dtype), p) for p in _writings(geometry)]
    rows = jnp.concatenate(rows).reshape(-1, big[..., 0].size)
    kernel = rows @ big.reshape(-1, big.shape[-1])
    return kernel.reshape(*geometry.window, *small.shape[-1:], -1).swapaxes(-1, -2)


def _writings(geometry):
    """Paddings of [d, b, *small] to [d, b, *big], by tap."""
    sides = [
        [(t - low, m - n - t + low, 0) for t in range(k)]
        for k, low, m, n in zip(
            geometry.window, geometry.low, geometry.big, geometry.small, strict=True
        )
    ]
    return [[(0, 0, 0)] * 2 + list(tap) for tap in itertools.product(*sides)]


# S and F in three dimensions. With q = j * stride + t the padded big pixel that small pixel j reads
# through tap t, write q = stride * r + a and t = stride * u + a: then r = j + u, and for each block
# u of the kernel one matrix product joins small pixels j with cells r of stride^n pixels.


def _s_by_blocks(geometry, big, kernel):
    blocks = _blocks(geometry)
    cells = _to_cells(geometry, big, blocks)
    n, stride = len(blocks), geometry.stride
    whole = [(0, m * stride - k) for m, k in zip(blocks, geometry.window, strict=True)]
    kernel = jnp.pad(kernel, [*whole, (0, 0), (0, 0)])
    kernel = kernel.reshape(*(side for m in blocks for side in (m, stride)), *kernel.shape[-2:])
    kernel = kernel.transpose(*range(0, 2 * n, 2), *range(1, 2 * n, 2), 2 * n, 2 * n + 1)
    kernel = kernel.reshape(*blocks, -1, kernel.shape[-1])
    parts = itertools.product(*map(range, blocks))
    return sum(_shifted(cells, u, geometry.small) @ kernel[u] for u in parts)


def _f_by_blocks(geometry, big, small):
    blocks = _blocks(geometry)
    cells = _to_cells(geometry, big, blocks)
    over = tuple(range(small.ndim - 1))
    products = [
        jnp.tensordot(_shifted(cells, u, geometry.small), small, (over, over))
        for u in itertools.product(*map(range, blocks))
    ]
    n, stride = len(blocks), (geometry.stride,) * len(blocks)
    kernel = jnp.stack(products).reshape(*blocks, *stride, -1, small.shape[-1])
    order = [axis for i in range(n) for axis in (i, n + i)]
    kernel = kernel.transpose(*order, 2 * n, 2 * n + 1)
    whole = [m * geometry.stride for m in blocks]
    kernel = kernel.reshape(*whole, *kernel.shape[-2:])
    return kernel[tuple(slice(k) for k in geometry.window)]


def _blocks(geometry):
    return [-(-k // geometry.stride) for k in geometry.window]


def _shifted(x, start, size):
    return x[(slice(None), *(slice(i, i + n) for i, n in zip(start, size, strict=True)))]


def _to_cells(geometry, big, blocks):
    """[b, *big, c] -> [b, *r, (*a, c)]: space to depth, after padding to whole cells."""
    n, stride = len(blocks), geometry.stride
    cells = [j + m - 1 for j, m in zip(geometry.small, blocks, strict=True)]
    sides = zip(geometry.low, cells, geometry.big, strict=True)
    pads = [(0, 0, 0), *((low, r * stride - m - low, 0) for low, r, m in sides), (0, 0, 0)]
    big = lax.pad(big, jnp.zeros((), big.dtype), pads)
    big = big.reshape(len(big), *(side for r in cells for side in (r, stride)), big.shape[-1])
    big = big.transpose(0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)
    return big.reshape(len(big), *cells, -1)
