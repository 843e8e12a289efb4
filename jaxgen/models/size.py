"""Sizes of images in pixels, as the networks' arguments name them."""

from collections.abc import Sequence

from jaxgen.errors import UserError

Size = int | Sequence[int]  # (height, width), or the side of a square


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def doublings(size: Size, least: int, network: str) -> int:
    """Number n of doublings of 4 x 4 pixels that make a square of 4 * 2^n, which is `least` or
    more. UserError, which begins with the name of the network, for any other size."""
    height, width = sides(size)
    n = height.bit_length() - 3
    if height != width or height < least or height != 4 << n:
        first = ", ".join(str(least << i) for i in range(4))
        raise UserError(
            f"{network} makes square images of {first}, ... pixels, not {height} x {width}"
        )
    return n
