"""Channels to pixels (Shi et al., 2016), https://arxiv.org/abs/1609.05158."""

from jaxtyping import Array, Float


def pixel_shuffle(x: Float[Array, "b h w k"], r: int) -> Float[Array, "b {r}*h {r}*w c"]:
    """Each pixel becomes r x r pixels: out[r y + i, r x + j, c] = in[y, x, c r^2 + i r + j].

    That is torch's order; in TensorFlow's `depth_to_space` the channel c comes last, not first."""
    b, h, w, k = x.shape
    x = x.reshape(b, h, w, k // r**2, r, r)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(b, h * r, w * r, k // r**2)
