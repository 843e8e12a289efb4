"""StyleGAN2's weights in the layout of NVIDIA's code for torch (stylegan2-ada-pytorch).

NVIDIA publishes pickles that run its own code when they are read, which we never do. Where that
code is at hand, save one network's tensors from there, for example

    torch.save(G_ema.state_dict(), "generator.pth")

or all of them in one file, with the prefixes `G_ema.` (or `G.`) and `D.`. Sizes, widths and the
filter are read off the tensors. Networks with labels are not read.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgen.errors import UserError
from jaxgen.models.stylegan2 import Discriminator, Generator
from jaxgen.nn.upfirdn import BINOMIAL, normalised
from jaxgen.weights.assemble import Pretrained, fill, from_torch
from jaxgen.weights.published import digest, read_state_dict

FILTER = np.array(normalised(BINOMIAL), np.float32)  # of a file that holds none


def generator(path: Path) -> Pretrained:
    """The generator of a .pth, .pt or .safetensors file, the averaged one where the file has both,
    with its mean style and its fixed noise. UserError."""
    state = _network(read_state_dict(path), ("G_ema.", "G."))
    source = f"{path} is not a generator of StyleGAN2"
    _unlabelled(path, state, "mapping.embed.weight")
    first, *_ = _need(state, source, "mapping.fc0.weight", "mapping.w_avg")
    levels = _levels(state, source, r"synthesis\.b(\d+)\.conv1\.weight")
    module = Generator(
        widths=tuple(len(state[f"synthesis.b{side}.conv1.weight"]) for side in levels),
        channels=len(*_need(state, source, "synthesis.b4.torgb.weight")),
        style=len(first),
        depth=sum(re.fullmatch(r"mapping\.fc\d+\.weight", name) is not None for name in state),
        taps=_taps(state, path, r"synthesis\.b\d+\.(conv0\.)?"),
    )

    def turned(names, array):
        if names[-1] == "const":
            return array.transpose(1, 2, 0)
        if names[-1] == "kernel" and names[-2].endswith("_conv0"):
            # torch convolves where it enlarges; we, like the paper's own code, correlate
            return array[::-1, ::-1]
        return array

    latent = first.shape[1]
    variables = _variables(module, (1, latent), state, source, _generator_key, turned)
    return Pretrained(module, variables, lambda z: z, digest(path), (latent,))


def discriminator(path: Path, group: int = 4) -> Pretrained:
    """The discriminator of a .pth, .pt or .safetensors file; `group` images share a minibatch
    standard deviation, of which a file does not tell. UserError."""
    state = _network(read_state_dict(path), ("D.",))
    source = f"{path} is not a discriminator of StyleGAN2"
    levels = _levels(state, source, r"b(\d+)\.conv0\.weight")
    _unlabelled(path, state, "mapping.embed.weight", "mapping.fc0.weight")
    last, colours = _need(state, source, "b4.fc.weight", f"b{levels[-1]}.fromrgb.weight")
    above = [len(state[f"b{side}.conv0.weight"]) for side in levels[1:]]
    residual = f"b{levels[-1]}.skip.weight" in state
    taps = _taps(state, path, r"b\d+\.(conv1|skip)\.")
    module = Discriminator((len(last), *above), group, residual, taps)
    size, channels = levels[-1], colours.shape[1]
    key = lambda names: _discriminator_key(names, size)
    image = (size, size, channels)
    variables = _variables(module, (1, *image), state, source, key)
    return Pretrained(module, variables, lambda x: x, digest(path), image)


def _network(state, prefixes):
    """One network's tensors of a file that may hold several."""
    for prefix in prefixes:
        own = {k.removeprefix(prefix): x for k, x in state.items() if k.startswith(prefix)}
        if own:
            return own
    return state


def _unlabelled(path, state, *names):
    if any(name in state for name in names):
        raise UserError(f"{path} holds a network with labels; only those without are read")


def _need(state, source, *names):
    for name in names:
        if name not in state:
            raise UserError(f"{source}: it has no {name}")
    return [state[name] for name in names]


def _variables(module, shape, state, source, key, change=lambda names, array: array):
    used = set()

    def name(names):
        used.add(key(names))
        return key(names)

    read = from_torch(state, name)
    variables = fill(module, shape, source, lambda names, s: change(names, read(names, s)))
    for other in state:  # of another architecture, which would compute something else
        if other not in used and not other.endswith("resample_filter"):
            raise UserError(f"{source}, or of another architecture: it has {other}")
    return variables


def _taps(state, path, layers) -> tuple[float, ...]:
    """The filter of the layers that change the size; the others have one too, but do not use it."""
    named = re.compile(layers + "resample_filter")
    first, *others = [x for name, x in state.items() if named.fullmatch(name)] or [FILTER]
    # The code keeps a filter of 8 taps and more as one axis of it, a shorter one as the product.
    taps = first if first.ndim == 1 else first.sum(0)
    whole = taps if first.ndim == 1 else np.outer(taps, taps)
    near = lambda x: x.shape == first.shape and np.allclose(x, first, atol=1e-6)
    if (
        not near(whole)
        or not all(map(near, others))
        or not math.isclose(taps.sum(), 1, abs_tol=1e-5)
    ):
        raise UserError(
            f"{path} has filters (resample_filter) that are not the same along both axes"
        )
    return tuple(map(float, taps))


def _levels(state, source, pattern) -> Sequence[int]:
    """4, 8, ... pixels, up to the largest that the names tell of."""
    found = [int(match[1]) for name in state if (match := re.fullmatch(pattern, name))]
    size = max(found, default=0)
    levels = [4 << i for i in range(size.bit_length() - 2)]
    if not levels or {*found} - {4} != {*levels[1:]}:
        raise UserError(f"{source}: its resolutions are {sorted(found)}, not 4, 8, 16, ...")
    return levels


def _generator_key(names):
    """The name of a tensor in torch of a variable here, such as params/synthesis/b8_conv0/kernel
    or averages/mapping/w."""
    collection, part, *rest = names
    if collection == "averages":
        return "mapping.w_avg"
    if part == "mapping":
        return f"mapping.{rest[0].replace('_', '')}.{_kind(rest[1])}"
    if rest == ["const"]:
        return "synthesis.b4.const"
    level, layer = rest[0].split("_")
    inner = "noise_const" if collection == "noise" else ".".join(map(_kind, rest[1:]))
    return f"synthesis.{level}.{layer}.{inner}"


def _discriminator_key(names, size):
    _, layer, *rest = names
    if layer == "fromrgb":
        layer = f"b{size}.fromrgb"
    elif layer in ("conv", "fc", "out"):
        layer = f"b4.{layer}"
    return ".".join([layer, *map(_kind, rest)])


def _kind(name):
    return "weight" if name == "kernel" else name
