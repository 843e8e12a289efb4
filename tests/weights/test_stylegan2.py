"""A small StyleGAN2 of the authors' code for torch: its weights are read, its numbers repeated."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import draw
from jaxgen.errors import UserError
from jaxgen.losses import penalties
from jaxgen.nn import upfirdn
from jaxgen.nn.conv import conv
from jaxgen.nn.modulated import modulated_conv
from jaxgen.weights import stylegan2
from tests.weights.test_readers import write_safetensors

GOLDEN = Path(__file__).parents[1] / "golden/a"
CLOSE = {"rtol": 1e-4, "atol": 2e-5}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def nhwc(x):
    return jnp.asarray(np.moveaxis(x, 1, -1))


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "sg2_mini.npz"))


def state(golden, prefix=""):
    found = {k.removeprefix("param_"): x for k, x in golden.items() if k.startswith("param_")}
    return {k.removeprefix(prefix): x for k, x in found.items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def file(golden, tmp_path_factory):
    """Both networks, and the filters that the authors' files hold besides."""
    fir = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64
    whole = {**state(golden), "G.synthesis.b4.resample_filter": fir, "D.b8.resample_filter": fir}
    return write_safetensors(tmp_path_factory.mktemp("weights") / "both.safetensors", whole)


def test_styles(golden, file):
    net = stylegan2.generator(file)
    assert net.module.widths == (8, 8, 8)
    assert net.module.depth == 3
    assert net.input == (12,)
    z = jnp.asarray(golden["in_z"])
    styles = lambda **kwargs: net.module.apply(
        net.variables, z, method="styles", train=False, **kwargs
    )
    np.testing.assert_allclose(styles(), golden["out_ws"], **CLOSE)
    np.testing.assert_allclose(styles(psi=0.7), golden["out_ws_psi0.7"], **CLOSE)
    cut = styles(psi=0.5, truncated=2)
    np.testing.assert_allclose(cut, golden["out_ws_psi0.5_cutoff2"], **CLOSE)


def test_images(golden, file):
    net = stylegan2.generator(file)
    z = jnp.asarray(golden["in_z"])
    for noise, name in (("fixed", "out_img_noise_const"), ("off", "out_img_noise_none")):
        make = jax.jit(lambda v: net.module.apply(v, z, noise=noise, train=False))
        np.testing.assert_allclose(make(net.variables), nhwc(golden[name]), **CLOSE)


def test_scores_and_their_slopes(golden, file):
    net = stylegan2.discriminator(file, group=2)
    assert net.module.widths == (8, 8, 8)
    assert net.module.residual
    assert net.input == (16, 16, 3)
    f = lambda x: net.module.apply(net.variables, x)
    image = nhwc(golden["in_img"])
    scores, slopes = jax.jit(lambda x: (f(x), jax.grad(lambda x: f(x).sum())(x)))(image)
    np.testing.assert_allclose(scores, golden["out_D_logits"][:, 0], **CLOSE)
    np.testing.assert_allclose(slopes, nhwc(golden["out_D_input_grad"]), **CLOSE)


def test_path_lengths_and_their_gradients(golden, file, monkeypatch):
    wanted = np.load(GOLDEN / "sg2_path_length.npz")
    net = stylegan2.generator(file)
    ws, y = jnp.asarray(wanted["in_ws"]), nhwc(wanted["in_y"])
    monkeypatch.setattr(draw, "normal", lambda key, n, shape: y)
    key = jax.random.key(0)

    def loss(params):
        variables = {**net.variables, "params": params}
        g = lambda ws: net.module.apply(variables, ws, method="synthesise", noise="off")
        penalty, mean = penalties.path_length(g, ws, key, jnp.asarray(wanted["in_pl_mean_prev"]))
        return 2 * penalty, (mean, penalties.path_lengths(g, ws, key), g(ws))

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, (mean, lengths, images)), slopes = step(net.variables["params"])
    np.testing.assert_allclose(images, nhwc(wanted["out_img"]), **CLOSE)
    np.testing.assert_allclose(lengths, wanted["out_lengths"], rtol=1e-4)
    np.testing.assert_allclose(mean, wanted["out_pl_mean"], rtol=1e-4)
    np.testing.assert_allclose(value, wanted["out_loss_weight2"], rtol=1e-4)
    layer = slopes["synthesis"]["b8_conv0"]
    turned = wanted["out_dloss_b8_conv0_weight"].transpose(2, 3, 1, 0)[::-1, ::-1]
    np.testing.assert_allclose(layer["kernel"], turned, rtol=1e-4, atol=2e-5)
    affine = wanted["out_dloss_b8_conv0_affine_weight"].T
    np.testing.assert_allclose(layer["affine"]["kernel"], affine, rtol=1e-4, atol=2e-5)


def test_one_network_a_file(golden, file, tmp_path):
    both = stylegan2.generator(file)
    own = write_safetensors(tmp_path / "g.safetensors", state(golden, "G."))
    alone = stylegan2.generator(own)
    assert alone.module == both.module
    jax.tree.map(np.testing.assert_array_equal, alone.variables, both.variables)
    averaged = {f"G_ema.{k}": 2 * x for k, x in state(golden, "G.").items()}
    path = write_safetensors(tmp_path / "ema.safetensors", {**state(golden), **averaged})
    twice = stylegan2.generator(path)
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, 2 * b), twice.variables, both.variables
    )


def filters(taps, long=False):
    """What the code keeps of a filter, where it is used: where the size changes."""
    taps = np.float32(taps) / sum(taps)
    layers = ["G.synthesis.b4", "G.synthesis.b8", "G.synthesis.b8.conv0", "D.b8.conv1", "D.b8.skip"]
    kept = taps if long else np.outer(taps, taps)
    return {f"{layer}.resample_filter": kept for layer in layers}


@pytest.mark.parametrize("taps", [(1, 3, 3, 1, 0), (0, 0, 1, 3, 3, 1, 0, 0)])
def test_a_filter_of_another_length(golden, taps, tmp_path):
    """Zeros around the filter (one more behind, where their number is odd) change nothing."""
    held = {**state(golden), **filters(taps, long=len(taps) >= 8)}
    path = write_safetensors(tmp_path / "x.safetensors", held)
    g, d = stylegan2.generator(path), stylegan2.discriminator(path, group=2)
    assert len(g.module.taps) == len(d.module.taps) == len(taps)
    z, image = jnp.asarray(golden["in_z"]), nhwc(golden["in_img"])
    make = jax.jit(lambda v: g.module.apply(v, z, noise="fixed", train=False))
    np.testing.assert_allclose(make(g.variables), nhwc(golden["out_img_noise_const"]), **CLOSE)
    scores = jax.jit(d.module.apply)(d.variables, image)
    np.testing.assert_allclose(scores, golden["out_D_logits"][:, 0], **CLOSE)


@pytest.mark.parametrize("taps", [(1, 2, 1), (1, 2, 4, 1)])
def test_another_filter_is_the_files(golden, taps, tmp_path):
    """Layer by layer what its definition says: zeros between pixels, the filter, the kernel."""
    path = write_safetensors(tmp_path / "x.safetensors", {**state(golden), **filters(taps)})
    g, d = stylegan2.generator(path), stylegan2.discriminator(path, group=2)
    np.testing.assert_allclose(g.module.taps, np.array(taps) / sum(taps), rtol=1e-6)
    assert g.module.taps == d.module.taps
    n, x = len(taps), jax.random.normal(jax.random.key(0), (1, 6, 6, 2))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 2, 2))

    @jax.jit
    def both(x):
        options = {"demodulate": False, "up": True, "taps": taps}
        found = modulated_conv(x, kernel, jnp.ones((1, 2)), **options)
        pad = (n + 1) // 2 + 1, n // 2  # the kernel's one beside the filter's own
        spread = upfirdn.upfirdn(x, upfirdn.normalised(taps, 2.0), up=2, pad=pad)
        return found, conv(spread, kernel)

    np.testing.assert_allclose(*both(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        {"G.synthesis.b8.resample_filter": np.outer([1, 2, 1], [1, 2, 1]) / 16},
        {"G.synthesis.b8.resample_filter": np.outer([1, 3, 3, 1], [3, 1, 1, 3]) / 64},
        {name: x * 2 for name, x in filters([1, 3, 3, 1]).items()},
        {name: np.outer([1, 2], [2, 1]) / 9 for name in filters([1])},
    ],
)
def test_filters_that_differ_are_refused(golden, change, tmp_path):
    held = {**state(golden), **filters([1, 3, 3, 1]), **change}
    path = write_safetensors(
        tmp_path / "x.safetensors", {k: np.float32(x) for k, x in held.items()}
    )
    with pytest.raises(UserError, match="not the same along both axes"):
        stylegan2.generator(path)


def test_the_plain_discriminator_is_told_by_its_tensors(golden, tmp_path):
    plain = {k: x for k, x in state(golden, "D.").items() if "skip" not in k}
    net = stylegan2.discriminator(write_safetensors(tmp_path / "d.safetensors", plain))
    assert not net.module.residual


@pytest.mark.parametrize(
    ("read", "prefix", "change", "says"),
    [
        ("generator", "D.", {}, "not a generator of StyleGAN2: it has no mapping.fc0.weight"),
        ("discriminator", "G.", {}, "not a discriminator of StyleGAN2"),
        ("generator", "G.", {"synthesis.b8.conv1.bias": None}, "no synthesis.b8.conv1.bias"),
        ("generator", "G.", {"synthesis.b8.conv1.weight": None}, r"resolutions are \[4, 16\]"),
        ("generator", "G.", {"mapping.embed.weight": np.ones((1, 1))}, "with labels"),
        ("discriminator", "D.", {"mapping.fc0.weight": np.ones((1, 1))}, "with labels"),
        ("discriminator", "D.", {"b8.fromrgb.bias": np.ones(8)}, "another architecture"),
        ("generator", "G.", {"mapping.w_avg": np.ones(9)}, r"mapping/w is \(9,\), not \(10,\)"),
    ],
)
def test_a_file_of_another_network(golden, read, prefix, change, says, tmp_path):
    held = {**state(golden, prefix), **change}
    held = {k: np.float32(x) for k, x in held.items() if x is not None}
    path = write_safetensors(tmp_path / "x.safetensors", held)
    with pytest.raises(UserError, match=says) as error:
        getattr(stylegan2, read)(path)
    assert "\n" not in str(error.value)
