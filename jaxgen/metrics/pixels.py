"""How close two images are, pixel by pixel: PSNR, SSIM and MS-SSIM.

Images are [B, H, W, C] in [0, peak], uint8 or float; network outputs in [-1, 1] are turned into
0..255 (and rounded, as super-resolution papers do) first.  Scores are one an image.

SSIM (Wang et al., 2004, https://doi.org/10.1109/TIP.2003.819861, Eq. 13): windows are an 11 x 11
Gaussian of deviation 1.5, wholly inside the image; K1 = 0.01, K2 = 0.03; covariances divide by N,
not N - 1; the mean over pixels and channels.  scikit-image gives the same with
gaussian_weights=True, sigma=1.5, use_sample_covariance=False.

MS-SSIM (Wang et al., 2003, https://doi.org/10.1109/ACSSC.2003.1292216, Eq. 7): 5 scales, a 2 x 2
mean between them; the product by channel, then the mean over channels, as in pytorch-msssim.
Between random pairs of samples it measures diversity: lower is more diverse (AC-GAN, Odena et al.,
2017, 10,000 pairs).

Super-resolution papers score the luma Y with as many border pixels cropped as the scale:
`psnr(*(crop(luma(x), 4) for x in (a, b)))`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

Images = Shaped[Array | np.ndarray, "b h w c"]
Scores = Float[Array, "b"]
Peak = float | Float[Array, ""]
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
SIDE, SIGMA = 11, 1.5


@jax.jit
def psnr(a: Images, b: Images, peak: Peak = 255.0) -> Scores:
    """10 log10(peak^2 / MSE) in dB, MSE over all pixels and channels; infinite for equal images."""
    mse = (((_float(a) - _float(b)) / peak) ** 2).mean(axis=(1, 2, 3))
    return -10 * jnp.log10(mse)


@jax.jit
def ssim(a: Images, b: Images, peak: Peak = 255.0) -> Scores:
    """The structural similarity in [-1, 1], 1 for equal images.  ValueError for sides under 11."""
    similarity, _ = ssim_by_channel(a, b, peak)
    return similarity.mean(axis=-1)


@jax.jit
def ms_ssim(a: Images, b: Images, peak: Peak = 255.0) -> Scores:
    """The multi-scale similarity in [0, 1]; a negative contrast term counts as 0.  ValueError for
    sides of 160 or less."""
    if min(a.shape[1:3]) <= (SIDE - 1) * 2 ** (len(WEIGHTS) - 1):
        raise ValueError(f"MS-SSIM's five scales need more than 160 pixels, not {a.shape[1:3]}")
    a, b = _float(a), _float(b)
    product = jnp.ones(())
    for scale, weight in enumerate(WEIGHTS, start=1):
        similarity, contrast = ssim_by_channel(a, b, peak)
        term = similarity if scale == len(WEIGHTS) else contrast
        product *= jnp.maximum(term, 0) ** weight
        a, b = _half(a), _half(b)
    return product.mean(axis=-1)


def luma(rgb: Shaped[Array | np.ndarray, "*b 3"]) -> Float[Array, "*b 1"]:
    """Y of ITU-R BT.601 in studio swing, from RGB in 0..255: 16 (black) to 235 (white), not
    rounded (MATLAB's rgb2ycbcr, BasicSR)."""
    weights = jnp.asarray([65.481, 128.553, 24.966]) / 255
    return 16 + (_float(rgb) * weights).sum(axis=-1, keepdims=True)


def crop(images: Images, border: int) -> Shaped[Array | np.ndarray, "b _ _ c"]:
    """The images without `border` pixels on every side."""
    return images[:, border or None : -border or None, border or None : -border or None]


@jax.jit
def ssim_by_channel(
    a: Images, b: Images, peak: Peak = 255.0
) -> tuple[Float[Array, "b c"], Float[Array, "b c"]]:
    """SSIM, and its contrast-structure term alone, of each channel."""
    if min(a.shape[1:3]) < SIDE:
        raise ValueError(f"SSIM's window is {SIDE} pixels; images are {a.shape[1:3]}")
    # Variances are differences of squares, exact in float32 only near 0.
    a, b = _float(a) / peak - 0.5, _float(b) / peak - 0.5
    mean_a, mean_b = _blur(a), _blur(b)
    variances = _blur(a * a + b * b) - mean_a**2 - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    contrast = (2 * covariance + c2) / (variances + c2)
    mean_a, mean_b = mean_a + 0.5, mean_b + 0.5
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    pixels = (1, 2)
    return (luminance * contrast).mean(axis=pixels), contrast.mean(axis=pixels)


def window() -> Float[np.ndarray, "11"]:
    """The Gaussian along one axis, with sum 1."""
    x = np.arange(SIDE) - SIDE // 2
    weights = np.exp(-(x**2) / (2 * SIGMA**2))
    return weights / weights.sum()


def _blur(x):
    """The means under the window, where it lies wholly inside: along each axis a banded matrix,
    which compiles and runs faster than a convolution of single channels."""
    for axis in (1, 2):
        size = x.shape[axis] - SIDE + 1
        band = np.zeros((x.shape[axis], size))
        for i, weight in enumerate(window()):
            band[np.arange(size) + i, np.arange(size)] = weight
        moved = jnp.tensordot(x, jnp.asarray(band, x.dtype), (axis, 0), precision="highest")
        x = jnp.moveaxis(moved, -1, axis)
    return x


def _half(x):
    """Means of 2 x 2 pixels; the last row or column of an odd number counts twice, as in Wang's
    code."""
    odd = [(0, n % 2) for n in x.shape[1:3]]
    x = jnp.pad(x, ((0, 0), *odd, (0, 0)), mode="edge")
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def _float(x):
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))
