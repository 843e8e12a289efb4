"""Forms of convolutions timed: `python experiments/benchmarks/convolutions.py [--help]`.

Five questions, each with the layers of papers and of quick recipes:

  transposed  zero-inserted (`lax.conv_transpose`, gradients by JAX's rules), `jaxgen.nn.conv_vjp`,
              sub-pixel (one convolution a phase, all phases at once), and nearest resize followed
              by a 3x3 convolution, which is another function and stands there for comparison
  volumes     the same in three dimensions
  modulated   StyleGAN2's, a group an example, and with scaled images (`jaxgen.nn.modulated`)
  weights     the weight gradient of a convolution of stride 1: XLA's, ours, and as
              matrix products, one a tap, one of patches, one of patches of the narrower side
  colours     convolutions of stride 1 to and from RGB: XLA's and `jaxgen.nn.conv_vjp`

Forms that claim to be one function are checked to be so, gradients included. Then forward, gradient
of the input and gradient of the weights are timed alone and as steps of a `lax.scan`, compiled as
training is; the table has medians, in milliseconds a step, of repeats in turns.
"""

import dataclasses
import functools
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import lax

from jaxgen.commands.start import keep_memory
from jaxgen.nn import conv, modulated
from jaxgen.train import devices

Section = Literal["transposed", "volumes", "modulated", "weights", "colours"]
Pass = Literal["forward", "input", "weights"]
STEPS = 4  # of the scan


@dataclasses.dataclass(frozen=True)
class Layer:
    """`window`^n kernels from `i` to `o` channels, on `batch` images of `side`^n pixels."""

    name: str
    batch: int
    side: int
    i: int
    o: int
    window: int = 4
    padding: int = 1  # of a transposed convolution of stride 2

    def __str__(self):
        w = "x".join([str(self.window)] * 2)
        return f"{self.name}: {w}, {self.i} -> {self.o}, {self.side} px, batch {self.batch}"


LAYERS: dict[Section, list[Layer]] = {
    "transposed": [
        Layer("quick", 64, 8, 32, 16),
        Layer("quick", 16, 32, 16, 8),
        Layer("DCGAN-64", 64, 4, 512, 256),
        Layer("DCGAN-64", 64, 16, 128, 64),
        Layer("DCGAN-64", 64, 32, 64, 3),
        Layer("U-Net-256", 1, 4, 1024, 512),
        Layer("U-Net-256", 1, 64, 256, 64),
        Layer("StyleGAN2-64", 8, 16, 128, 128, 3, 0),
        Layer("StyleGAN2-256", 2, 64, 128, 64, 3, 0),
    ],
    "volumes": [
        Layer("quick", 4, 8, 32, 16),
        Layer("3D-GAN", 2, 4, 256, 128),
        Layer("3D-GAN", 2, 16, 64, 32),
    ],
    "modulated": [
        Layer("quick", 8, 16, 64, 64, 3),
        Layer("quick", 16, 32, 32, 32, 3),
        Layer("StyleGAN2-64", 8, 16, 256, 256, 3),
        Layer("StyleGAN2-256", 2, 64, 128, 128, 3),
    ],
    "weights": [
        Layer("quick", 32, 16, 8, 8, 3),
        Layer("quick", 32, 16, 32, 32, 3),
        Layer("quick", 16, 32, 16, 16, 3),
        Layer("quick", 16, 32, 32, 32, 3),
        Layer("quick", 8, 64, 16, 16, 3),
        Layer("quick", 8, 64, 32, 32, 3),
        Layer("quick", 32, 16, 64, 64, 3),
        Layer("SRGAN", 16, 24, 64, 64, 3),
        Layer("CycleGAN-256", 1, 64, 256, 256, 3),
        Layer("StyleGAN2-64", 8, 16, 256, 256, 3),
        Layer("StyleGAN2-64", 8, 64, 64, 64, 3),
        Layer("StyleGAN2-256", 2, 256, 32, 32, 3),
    ],
    "colours": [
        Layer("quick, to RGB", 8, 64, 16, 3, 3),
        Layer("quick, from RGB", 8, 64, 3, 16, 3),
        Layer("CycleGAN quick, to RGB", 1, 48, 16, 3, 7),
        Layer("SRGAN, to RGB", 16, 96, 64, 3, 9),
        Layer("CycleGAN-256, to RGB", 1, 256, 64, 3, 7),
        Layer("CycleGAN-256, from RGB", 1, 256, 3, 64, 7),
        Layer("WGAN-GP, from RGB", 64, 32, 3, 128, 3),
        Layer("StyleGAN2-64, to RGB", 8, 64, 512, 3, 1),
    ],
}


def convolve(x, kernel, padding, groups=1):
    """XLA's convolution, channels last."""
    space = "DHW"[2 - x.ndim :]
    return lax.conv_general_dilated(
        x,
        kernel,
        (1,) * len(space),
        [(padding, padding)] * len(space),
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        feature_group_count=groups,
    )


# Transposed convolutions of stride 2: f(x [b, *space, i], kernel [*window, i, o], padding); ours
# keeps its kernels flipped, as [*window, o, i], and is given them so.


def zero_inserted(x, kernel, padding):
    space = "DHW"[2 - x.ndim :]
    pads = [(k - 1 - padding,) * 2 for k in kernel.shape[:-2]]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    return lax.conv_transpose(x, kernel, (2,) * len(space), pads, dimension_numbers=numbers)


def ours(x, kernel, padding):
    return conv.conv_transpose(x, kernel, 2, padding)


def turned(section, form, kernel):
    """A kernel as the form keeps it, or back."""
    if section in ("transposed", "volumes") and form == "strided":
        return lax.rev(kernel, range(kernel.ndim - 2)).swapaxes(-1, -2)
    return kernel


def sub_pixel(x, kernel, padding):
    """Output pixel 2 r + a is a convolution at r with every second tap of the kernel."""
    n, (k, *_), (i, o) = x.ndim - 2, kernel.shape, kernel.shape[-2:]
    taps = -(-k // 2)
    kernel = jnp.pad(kernel, [(2 * taps - k, 0)] * n + [(0, 0)] * 2)
    kernel = lax.rev(kernel.reshape(*(taps, 2) * n, i, o), range(1, 2 * n, 2))
    order = (*range(0, 2 * n, 2), 2 * n, *range(1, 2 * n, 2), 2 * n + 1)
    kernel = kernel.transpose(order).reshape(*(taps,) * n, i, -1)
    y = convolve(x, kernel, taps - 1)
    cells = y.shape[1:-1]
    y = y.reshape(len(x), *cells, *(2,) * n, o)
    y = y.transpose(0, *itertools.chain(*((1 + d, 1 + n + d) for d in range(n))), 2 * n + 1)
    y = y.reshape(len(x), *(2 * c for c in cells), o)
    sides = [(side - 1) * 2 + k - 2 * padding for side in x.shape[1:-1]]
    return y[(slice(None), *(slice(padding, padding + side) for side in sides))]


def resized(x, kernel, padding):
    """Another function: nearest, twice as large, then 3x3."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis)
    return convolve(x, kernel[(slice(3),) * (x.ndim - 2)], 1)


# Modulated convolutions: f(x [b, h, w, i], kernel [k, k, i, o], style [b, i]).


def grouped(x, kernel, style):
    b, h, w, i = x.shape
    k, o = len(kernel), kernel.shape[-1]
    kernels = kernel * style[:, None, None, :, None].astype(kernel.dtype)
    kernels *= modulated.demodulation(kernel, style)[:, None, None, None, :].astype(kernel.dtype)
    kernels = kernels.transpose(1, 2, 3, 0, 4).reshape(k, k, i, b * o)
    x = x.transpose(1, 2, 0, 3).reshape(1, h, w, b * i)
    y = convolve(x, kernels, k // 2, groups=b)
    return y.reshape(h, w, b, o).transpose(2, 0, 1, 3)


def scaled(x, kernel, style):
    return modulated.modulated_conv(x, kernel, style)


# Weight gradients of stride 1, k odd: f(x [b, h, w, i], g [b, h, w, o], k) -> [k, k, i, o].


def by_rule(convolution):
    """The gradient that JAX or a custom rule takes of it."""

    def gradient(x, g, k):
        kernel = jnp.zeros((k, k, x.shape[-1], g.shape[-1]), x.dtype)
        return jax.vjp(lambda kernel: convolution(x, kernel, k // 2), kernel)[1](g)[0]

    return gradient


def shifts(x, k):
    """The k^2 images that the taps read."""
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    return [x[:, i : i + h, j : j + w] for i in range(k) for j in range(k)]


def by_taps(x, g, k):
    over = (0, 1, 2)
    taps = [jnp.tensordot(tap, g, (over, over)) for tap in shifts(x, k)]
    return jnp.stack(taps).reshape(k, k, x.shape[-1], g.shape[-1])


def by_patches(x, g, k):
    over = (0, 1, 2)
    patches = jnp.concatenate(shifts(x, k), -1)
    return jnp.tensordot(patches, g, (over, over)).reshape(k, k, x.shape[-1], g.shape[-1])


def by_narrow_patches(x, g, k):
    """Of the side with fewer channels: tap (i, j) of x is tap (k - 1 - i, k - 1 - j) of g."""
    if x.shape[-1] <= g.shape[-1]:
        return by_patches(x, g, k)
    return lax.rev(by_patches(g, x, k), (0, 1)).swapaxes(-1, -2)


FORMS: dict[Section, dict[str, Callable]] = {
    "transposed": {
        "zero-inserted": zero_inserted,
        "strided": ours,
        "sub-pixel": sub_pixel,
        "resize + 3x3": resized,
    },
    "modulated": {"grouped": grouped, "scaled": scaled},
    "weights": {
        "XLA": by_rule(convolve),
        "strided": by_rule(lambda x, kernel, padding: conv.conv(x, kernel, 1, padding)),
        "by taps": by_taps,
        "by patches": by_patches,
        "narrow patches": by_narrow_patches,
    },
    "colours": {
        "XLA": convolve,
        "strided": lambda x, kernel, padding: conv.conv(x, kernel, 1, padding),
    },
}
FORMS["volumes"] = FORMS["transposed"]
OTHER = {"resize + 3x3"}  # claims to be no other's function


def functions(section: Section, form: str, layer: Layer) -> dict[Pass, Callable]:
    """f(image, kernel, cotangent) -> array, by what it computes."""
    f = FORMS[section][form]
    if section == "weights":
        return {"weights": lambda x, kernel, g: f(x, g, layer.window)}
    if section == "modulated":
        style = jnp.linspace(0.5, 1.5, layer.batch * layer.i).reshape(layer.batch, layer.i)
        y = lambda x, kernel: f(x, kernel, style)
    else:
        padding = layer.window // 2 if section == "colours" else layer.padding
        y = lambda x, kernel: f(x, kernel, padding)
    return {
        "forward": lambda x, kernel, g: y(x, kernel),
        "input": lambda x, kernel, g: jax.vjp(lambda x: y(x, kernel), x)[1](g)[0],
        "weights": lambda x, kernel, g: jax.vjp(lambda kernel: y(x, kernel), kernel)[1](g)[0],
    }


def arguments(section: Section, layer: Layer, dtype, steps=()):
    """Image, kernel and cotangent; of `steps` images and cotangents."""
    n = 3 if section == "volumes" else 2
    side = layer.side
    if section in ("transposed", "volumes"):
        side = (side - 1) * 2 + layer.window - 2 * layer.padding
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), dtype)
    image = draw(*steps, layer.batch, *(layer.side,) * n, layer.i)
    kernel = draw(*(layer.window,) * n, layer.i, layer.o) / math.sqrt(layer.window**n * layer.i)
    return image, kernel, draw(*steps, layer.batch, *(side,) * n, layer.o)


def check(section: Section, layer: Layer, dtype, tolerance):
    """That the forms agree, on two examples; AssertionError."""
    layer = dataclasses.replace(layer, batch=min(layer.batch, 2))
    x, kernel, g = arguments(section, layer, dtype)
    wanted = {}
    for form in FORMS[section]:
        if form in OTHER:
            continue
        for name, f in functions(section, form, layer).items():
            y = jax.jit(f)(x, turned(section, form, kernel), g)
            y = np.asarray(turned(section, form, y) if name == "weights" else y, np.float32)
            want = wanted.setdefault(name, y)
            error = np.abs(y - want).max() / np.abs(want).max()
            assert error < tolerance, (str(layer), form, name, error)


def looped(f):
    """`STEPS` steps of f, each with the next image and a kernel that depends on the one before."""

    def step(kernel, xs):
        y = f(xs[0], kernel, xs[1])
        change = y if y.shape == kernel.shape else y.mean()
        return kernel - (1e-6 * change).astype(kernel.dtype), None

    return lambda x, kernel, g: lax.scan(step, kernel, (x, g))[0]


def milliseconds(programs: dict, repeats: int, least: float) -> dict:
    """Medians of `repeats` in turns, each of as many calls as take `least` seconds."""
    calls = {key: math.ceil(least / _seconds(run, 1)) for key, (run, _) in programs.items()}
    times = {key: [] for key in programs}
    for _ in range(repeats):
        for key, (run, steps) in programs.items():
            times[key].append(_seconds(run, calls[key]) / steps)
    return {key: 1e3 * statistics.median(values) for key, values in times.items()}


def _seconds(run, calls):
    start = time.perf_counter()
    for _ in range(calls):
        y = run()
    jax.block_until_ready(y)
    return (time.perf_counter() - start) / calls


def measure(section: Section, layer: Layer, dtype, skip, patience, *schedule) -> list[dict]:
    """A row a form: {"form", "layer", "loop <pass>", "alone <pass>"}."""
    alone, many = arguments(section, layer, dtype), arguments(section, layer, dtype, (STEPS,))
    programs, slow, options = {}, {}, devices.compiler_options(devices.make_mesh())
    for form in FORMS[section]:
        if form in skip:
            continue
        for name, f in functions(section, form, layer).items():
            x, kernel, g = alone
            kernel = turned(section, form, kernel)
            if form in OTHER:  # twice the side, whatever the kernel
                twice = lambda y, like: jnp.resize(y, like)
                shape = (layer.batch, *(2 * layer.side,) * (x.ndim - 2), layer.o)
                g, gs = twice(g, shape), twice(many[2], (STEPS, *shape))
            else:
                gs = many[2]
            for where, run, args, steps in (
                ("alone", f, (x, kernel, g), 1),
                ("loop", looped(f), (many[0], kernel, gs), STEPS),
            ):
                compiled = jax.jit(run, compiler_options=options).lower(*args).compile()
                run = functools.partial(compiled, *args)
                if (seconds := _seconds(run, 1) / steps) > patience:
                    slow[form, f"{where} {name}"] = 1e3 * seconds
                    break
                programs[form, f"{where} {name}"] = run, steps
    rows = {form: {"layer": str(layer), "form": form} for form in FORMS[section]}
    for (form, column), value in {**milliseconds(programs, *schedule), **slow}.items():
        rows[form][column] = float(f"{value:.3g}")
    return [row for form, row in rows.items() if form not in skip]


def table(rows: list[dict]) -> str:
    """Markdown; a layer's name stands in its first row."""
    passes = [
        name for name in ("forward", "input", "weights") if any(f"alone {name}" in r for r in rows)
    ]
    columns = [f"{where} {name}" for name in passes for where in ("alone", "loop")]
    lines = [["layer", "form", *columns], ["---"] * 2 + ["---:"] * len(columns)]
    for before, row in zip([{}, *rows[:-1]], rows, strict=True):
        name = "" if before.get("layer") == row["layer"] else row["layer"]
        lines.append([name, row["form"], *(f"{row[c]:g}" if c in row else "" for c in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(
    sections: tuple[Section, ...] = tuple(LAYERS),
    precisions: tuple[Literal["float32", "bfloat16"], ...] = ("float32", "bfloat16"),
    repeats: int = 7,
    least: float = 0.02,
    patience: float = 0.5,
    layers: str = "",
    skip: tuple[str, ...] = (),
    check_only: bool = False,
    out: Path | None = None,
):
    """Times the forms of a convolution and writes a table of them.

    Args:
        sections: which of the questions.
        precisions: of images and kernels.
        repeats: of each timing, in turns.
        least: seconds that a timing takes, at least.
        patience: seconds; a form that takes longer alone is called once, and not timed in a loop.
        layers: only those whose name holds this, such as quick.
        skip: forms that are not timed.
        check_only: only check that the forms agree.
        out: the Markdown table; the JSON lies beside it. By default
            experiments/benchmarks/results/convolutions-PLATFORM.md.
    """
    keep_memory()
    platform = jax.default_backend()
    out = out or Path(__file__).parent / f"results/convolutions-{platform}.md"
    device = jax.devices()[0].device_kind
    machine = f"{device}, {os.cpu_count()} CPU cores, JAX {jax.__version__}"
    text = [
        f"# Forms of convolutions\n\n{machine}; milliseconds, medians of {repeats}, but one call\n"
        f"of what takes longer than {patience:g} s, and none in a loop if it does so alone."
    ]
    results = {"machine": machine, "repeats": repeats, "rows": []}
    for section, precision in itertools.product(sections, precisions):
        rows = []
        for layer in LAYERS[section]:
            if layers not in str(layer):
                continue
            tolerance = 1e-4 if precision == "float32" else 0.05
            check(section, layer, jnp.dtype(precision), tolerance)
            print(f"{section}, {precision}, {layer}: the forms agree", file=sys.stderr)
            if not check_only:
                schedule = patience, repeats, least
                rows += measure(section, layer, jnp.dtype(precision), skip, *schedule)
        if rows:
            text.append(f"## {section}, {precision}\n\n{table(rows)}")
            print(text[-1], "\n", flush=True)
            results["rows"] += [{"section": section, "precision": precision, **r} for r in rows]
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("\n\n".join(text) + "\n")
            out.with_suffix(".json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
