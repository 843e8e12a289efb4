"""A small StyleGAN with the variables of the authors' code: read, and beside their definition."""

import pickle
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxgen.errors import UserError
from jaxgen.weights import stylegan
from tests.weights.test_readers import write_safetensors

RNG = np.random.default_rng(0)
CLOSE = {"rtol": 1e-4, "atol": 2e-5}
LATENT, STYLE, WIDTHS, DEPTH = 5, 6, {4: 7, 8: 7, 16: 4}, 2


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def draw(*shape):
    return np.float32(RNG.normal(size=shape))


def variables():
    """(the mapping's, the synthesis', the discriminator's), by their names there."""
    ins = [LATENT] + [STYLE] * (DEPTH - 1)
    mapping = {f"Dense{i}/weight": 100 * draw(n, STYLE) for i, n in enumerate(ins)}
    mapping |= {f"Dense{i}/bias": 10 * draw(STYLE) for i in range(DEPTH)}
    synthesis = {"lod": np.float32(0), "4x4/Const/const": draw(1, WIDTHS[4], 4, 4)}
    d = {"lod": np.float32(0)}
    before = WIDTHS[4]
    for level, (side, width) in enumerate(WIDTHS.items()):
        layers = (
            {"Const": None, "Conv": before} if side == 4 else {"Conv0_up": before, "Conv1": width}
        )
        for i, (layer, n) in enumerate(layers.items()):
            name = f"{side}x{side}/{layer}"
            if n:
                synthesis[f"{name}/weight"] = draw(3, 3, n, width)
            synthesis |= {f"{name}/Noise/weight": draw(width), f"{name}/bias": draw(width)}
            synthesis |= {f"{name}/StyleMod/weight": draw(STYLE, 2 * width)}
            synthesis |= {f"{name}/StyleMod/bias": draw(2 * width)}
            synthesis[f"noise{2 * level + i}"] = draw(1, 1, side, side)
        lod = len(WIDTHS) - 1 - level
        synthesis |= {
            f"ToRGB_lod{lod}/weight": draw(1, 1, width, 3),
            f"ToRGB_lod{lod}/bias": draw(3),
        }
        d |= {
            f"FromRGB_lod{lod}/weight": draw(1, 1, 3, width),
            f"FromRGB_lod{lod}/bias": draw(width),
        }
        if side > 4:
            d |= {f"{side}x{side}/Conv0/weight": draw(3, 3, width, width)}
            d |= {f"{side}x{side}/Conv0/bias": draw(width)}
            d |= {f"{side}x{side}/Conv1_down/weight": draw(3, 3, width, before)}
            d |= {f"{side}x{side}/Conv1_down/bias": draw(before)}
        before = width
    n = WIDTHS[4]
    d |= {"4x4/Conv/weight": draw(3, 3, n + 1, n), "4x4/Conv/bias": draw(n)}
    d |= {"4x4/Dense0/weight": draw(16 * n, n), "4x4/Dense0/bias": draw(n)}
    d |= {"4x4/Dense1/weight": draw(n, 1), "4x4/Dense1/bias": draw(1)}
    return mapping, synthesis, d


MAPPING, SYNTHESIS, D = variables()
FLAT = {f"G_mapping/{k}": x for k, x in MAPPING.items()}
FLAT |= {f"G_synthesis/{k}": x for k, x in SYNTHESIS.items()} | {"dlatent_avg": draw(STYLE)}


# Their functions, channels first.


def scaled(w, gain=2**0.5, lrmul=1.0):
    return w * gain * lrmul / np.sqrt(np.prod(w.shape[:-1]))


def conv(x, w, stride=1):
    dims = ("NCHW", "HWIO", "NCHW")
    return lax.conv_general_dilated(x, w, (stride, stride), "SAME", dimension_numbers=dims)


def leaky(x, bias):
    x = x + (bias if x.ndim == 2 else bias[:, None, None])
    return jnp.where(x > 0, x, 0.2 * x)


def blur(x):
    taps = np.outer([1, 2, 1], [1, 2, 1]) / np.float32(16)
    n, c, h, w = x.shape
    return conv(x.reshape(n * c, 1, h, w), taps[:, :, None, None]).reshape(x.shape)


def up_conv(x, w, fused):
    """Plain, or as a transposed convolution with a kernel of four shifted copies."""
    if not fused:
        return conv(x.repeat(2, 2).repeat(2, 3), w)
    w = np.pad(w, [(1, 1), (1, 1), (0, 0), (0, 0)])
    w = w[1:, 1:] + w[:-1, 1:] + w[1:, :-1] + w[:-1, :-1]
    spread = jnp.zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])).at[:, :, ::2, ::2].set(x)
    flipped = w[::-1, ::-1]  # the gradient of a convolution with w
    dims = ("NCHW", "HWIO", "NCHW")
    return lax.conv_general_dilated(spread, flipped, (1, 1), [(2, 1)] * 2, dimension_numbers=dims)


def their_generator(z, fused=()):
    """(w, image)."""
    w = z / np.sqrt((z**2).mean(1, keepdims=True) + 1e-8)
    for i in range(DEPTH):
        x = w @ scaled(MAPPING[f"Dense{i}/weight"], lrmul=0.01)
        w = leaky(x, MAPPING[f"Dense{i}/bias"] * 0.01)
    v = SYNTHESIS

    def epilogue(x, name, place):
        x = x + v[f"noise{place}"] * v[f"{name}/Noise/weight"][:, None, None]
        x = leaky(x, v[f"{name}/bias"])
        x = x - x.mean((2, 3), keepdims=True)
        x = x / jnp.sqrt((x**2).mean((2, 3), keepdims=True) + 1e-8)
        style = w @ scaled(v[f"{name}/StyleMod/weight"], 1) + v[f"{name}/StyleMod/bias"]
        style = style.reshape(-1, 2, x.shape[1], 1, 1)
        return x * (style[:, 0] + 1) + style[:, 1]

    x = epilogue(jnp.repeat(v["4x4/Const/const"], len(z), 0), "4x4/Const", 0)
    x = epilogue(conv(x, scaled(v["4x4/Conv/weight"])), "4x4/Conv", 1)
    for level, side in enumerate(WIDTHS):
        if side > 4:
            name = f"{side}x{side}"
            x = blur(up_conv(x, scaled(v[f"{name}/Conv0_up/weight"]), side in fused))
            x = epilogue(x, f"{name}/Conv0_up", 2 * level)
            x = epilogue(conv(x, scaled(v[f"{name}/Conv1/weight"])), f"{name}/Conv1", 2 * level + 1)
    return w, conv(x, scaled(v["ToRGB_lod0/weight"], 1)) + v["ToRGB_lod0/bias"][:, None, None]


def their_discriminator(x, group):
    layer = lambda x, name: leaky(conv(x, scaled(D[f"{name}/weight"])), D[f"{name}/bias"])
    x = layer(x, "FromRGB_lod0")
    for side in reversed(WIDTHS):
        if side > 4:
            x = blur(layer(x, f"{side}x{side}/Conv0"))
            x = conv(x, scaled(D[f"{side}x{side}/Conv1_down/weight"]))
            x = x.reshape(*x.shape[:2], side // 2, 2, side // 2, 2).mean((3, 5))
            x = leaky(x, D[f"{side}x{side}/Conv1_down/bias"])
    y = x.reshape(group, -1, *x.shape[1:])
    spread = jnp.sqrt(y.var(0) + 1e-8).mean((1, 2, 3))
    spread = jnp.tile(spread, group)[:, None, None, None] + jnp.zeros((len(x), 1, 4, 4))
    x = layer(jnp.concatenate([x, spread], 1), "4x4/Conv").reshape(len(x), -1)
    x = leaky(x @ scaled(D["4x4/Dense0/weight"]), D["4x4/Dense0/bias"])
    return (x @ scaled(D["4x4/Dense1/weight"], 1) + D["4x4/Dense1/bias"])[:, 0]


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Writes the three networks as NVIDIA's classes do: (arguments of the synthesis) -> path."""

    class Network:
        def __init__(self, values, **kwargs):
            self.values, self.kwargs, self.components = values, kwargs, EasyDict()

        def __getstate__(self):
            return {
                "version": 3,
                "name": "G",
                "static_kwargs": dict(self.kwargs),
                "components": dict(self.components),
                "build_module_src": "raise Exception",
                "build_func_name": "G_style",
                "variables": list(self.values.items()),
            }

    class EasyDict(dict):
        pass

    for name, made in (("network.Network", Network), ("util.EasyDict", EasyDict)):
        package, _, kind = name.partition(".")
        module = "dnnlib.util" if package == "util" else "dnnlib.tflib.network"
        made.__module__, made.__qualname__ = module, kind
        monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{kind: made}))
    for module in ("dnnlib", "dnnlib.tflib"):
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))

    def write(**kwargs):
        def g(factor):
            whole = Network({"dlatent_avg": factor * FLAT["dlatent_avg"]}, func=EasyDict(a=1))
            named = {k: np.asarray(factor * x) for k, x in SYNTHESIS.items()}
            whole.components["synthesis"] = Network(named, resolution=np.int64(16), **kwargs)
            whole.components["mapping"] = Network(MAPPING)
            return whole

        path = tmp_path / "published.pkl"
        path.write_bytes(pickle.dumps((g(2.0), Network(D), g(1.0)), protocol=4))
        return path

    return write


def nhwc(x):
    return jnp.moveaxis(x, 1, -1)


@pytest.mark.parametrize("fused", [(), (8, 16)])
def test_the_published_generator(fused, published):
    """The averaged one, of a pickle that is not run; its kernels turned where they are fused."""
    net = stylegan.generator(published(fused_scale=bool(fused)))
    assert net.module.widths == tuple(WIDTHS.values())
    assert (net.module.style, net.module.depth, net.input) == (STYLE, DEPTH, (LATENT,))
    z = jnp.asarray(draw(3, LATENT))
    w, image = their_generator(z, fused)

    @jax.jit
    def ours(variables):
        apply = lambda *args, **options: net.module.apply(variables, *args, **options)
        ws = apply(z, method="styles", train=False)
        mean = apply(z, method="styles", train=False, psi=0.0)
        return ws, mean, apply(ws, method="synthesise", noise="fixed")

    ws, mean, made = ours(net.variables)
    np.testing.assert_allclose(ws, np.repeat(np.asarray(w)[:, None], 6, 1), **CLOSE)
    np.testing.assert_allclose(mean[1, 2], FLAT["dlatent_avg"], **CLOSE)
    np.testing.assert_allclose(made, nhwc(image), rtol=1e-3, atol=1e-4)


def test_large_kernels_are_fused_by_themselves(published):
    """From 128 pixels on, so none of these."""
    plain, auto = (stylegan.generator(published(**x)) for x in ({"fused_scale": False}, {}))
    jax.tree.map(np.testing.assert_array_equal, plain.variables, auto.variables)


def test_the_published_discriminator(published):
    net = stylegan.discriminator(published(), group=2)
    image = jnp.asarray(draw(4, 3, 16, 16))
    ours = jax.jit(net.module.apply)(net.variables, nhwc(image))
    np.testing.assert_allclose(ours, their_discriminator(image, 2), rtol=1e-3, atol=1e-4)


def test_a_file_of_names(published, tmp_path):
    both = FLAT | {f"D/{name}": x for name, x in D.items()}
    path = write_safetensors(tmp_path / "both.safetensors", both)
    for read in (stylegan.generator, stylegan.discriminator):
        named, pickled = read(path), read(published())
        assert named.module == pickled.module
        jax.tree.map(np.testing.assert_array_equal, named.variables, pickled.variables)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"G_synthesis/4x4/Conv/weight": None}, "it has no G_synthesis/4x4/Conv/weight"),
        ({"G_synthesis/8x8/Conv1/bias": None}, "it has no G_synthesis/8x8/Conv1/bias"),
        ({"G_synthesis/8x8/Conv1/weight": None}, r"its resolutions are \[16\], not 8, 16"),
        ({"G_mapping/LabelConcat/weight": draw(3, 5)}, "a network with labels"),
        ({"dlatent_avg": draw(5)}, r"mapping/w is \(5,\), not \(6,\)"),
    ],
)
def test_a_file_of_another_network(change, says, tmp_path):
    held = {k: x for k, x in (FLAT | change).items() if x is not None}
    path = write_safetensors(tmp_path / "x.safetensors", held)
    with pytest.raises(UserError, match=says) as error:
        stylegan.generator(path)
    assert "\n" not in str(error.value)


def test_pickles_of_others(published, tmp_path):
    with pytest.raises(UserError, match="another configuration: its use_pixel_norm is True"):
        stylegan.generator(published(use_pixel_norm=True))
    path = tmp_path / "x.pkl"
    for content, says in (
        ([1, 2, 3], "does not hold the three networks"),
        (Path("x"), "pathlib.* is no weights, and is not opened"),
    ):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match=says):
            stylegan.generator(path)
