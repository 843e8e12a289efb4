"""Augmentations of what a discriminator sees: ADA with its controller, DiffAugment."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import erfinv
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.nn import ada, ada_ops, diffaugment
from jaxgen.train import devices

GOLDEN = Path(__file__).parents[1] / "golden/a"
change = jax.jit(ada_ops.change)
augment = jax.jit(ada.augment, static_argnames=ada_ops.Changes._fields)
ALL = {"filter": True, "noise": True, "cutout": True}
KINDS = ("blit", "geom", "color", "filter", "cutout")


def nhwc(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


@functools.cache
def golden(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file)


def smooth(n=8, side=16):
    x = jax.random.normal(jax.random.key(5), (n, 4, 4, 3))
    return jnp.tanh(jax.image.resize(x, (n, side, side, 3), "cubic"))


def at_percentile(q, n=2):
    """Every change at percentile q as the reference's test mode has it: `ada_ops.Changes`."""
    normal = float(erfinv(2 * q - 1))
    each = lambda x: jnp.full((n,), x, jnp.float32)
    two = lambda x: jnp.full((n, 2), x, jnp.float32)
    flip, turns, angle = np.floor(2 * q), np.floor(4 * q), (2 * q - 1) * np.pi
    scale = each(2 ** (0.2 * normal))
    return ada_ops.Changes(
        blit=ada_ops.Blit(each(flip), each(turns), two((2 * q - 1) / 8)),
        geom=ada_ops.Geom(scale, each(angle), scale, each(0), two(normal / 8)),
        color=ada_ops.Color(
            each(0.2 * normal),
            each(2 ** (0.5 * normal)),
            each(flip),
            each(angle),
            each(2**normal),
        ),
        filter=jnp.full((n, 4), 2**normal, jnp.float32),
        cutout=ada_ops.Cutout(each(0.5), two(q)),
    )


def test_filters_are_those_of_the_reference():
    g = golden("ada_augment")
    np.testing.assert_allclose(ada_ops.SYM6 / ada_ops.SYM6.sum(), g["param_Hz_geom"], atol=1e-7)
    np.testing.assert_allclose(ada_ops.filter_bank(), g["param_Hz_fbank"], atol=1e-7)


@pytest.mark.parametrize("q", [0.2, 0.5, 0.8])
def test_ada_as_in_the_reference(q):
    g, all_of_them = golden("ada_augment"), at_percentile(q)
    for name in (*KINDS, "bgc"):
        kinds = ("blit", "geom", "color") if name == "bgc" else (name,)
        some = ada_ops.Changes(**{kind: getattr(all_of_them, kind) for kind in kinds})
        y, expected = change(nhwc(g["in_x"]), some), nhwc(g[f"out_{name}_pct{q}"])
        scale = float(jnp.abs(expected).max())
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4 * scale, err_msg=name)


def test_ada_with_p_0_is_the_identity():
    x = smooth()
    y = augment(x, 0.0, jax.random.key(0), **ALL)
    np.testing.assert_allclose(y, x, atol=1e-5)
    color = augment(x, 0.0, jax.random.key(0), blit=False, geom=False)
    np.testing.assert_allclose(color, x, atol=1e-6)
    none = augment(x, 1.0, jax.random.key(0), blit=False, geom=False, color=False)
    np.testing.assert_array_equal(none, x)


def test_each_change_fires_with_probability_p_and_is_drawn_as_in_the_paper():
    n, p = 4000, 0.5
    drawn = jax.jit(lambda key: ada.draw_changes(key, (n, 2, 2, 3), p, (True,) * 6))
    blit, geom, color, gains, noise, box = drawn(jax.random.key(0))
    fired = {
        "flip": (blit.flip != 0, p / 2),
        "turns": (blit.turns != 0, p * 3 / 4),
        "shift": (blit.shift[:, 0] != 0, p),
        "scale": (geom.scale != 1, p),
        "either rotation": ((geom.angle != 0) | (geom.angle_after != 0), p),
        "stretch": (geom.stretch != 1, p),
        "offset": (geom.offset[:, 1] != 0, p),
        "brightness": (color.brightness != 0, p),
        "contrast": (color.contrast != 1, p),
        "luma": (color.luma != 0, p / 2),
        "hue": (color.hue != 0, p),
        "saturation": (color.saturation != 1, p),
        "highest band": (gains[:, 3] != 1, p),
        "noise": (noise[:, 0, 0, 0] != 0, p),
        "cutout": (box.size != 0, p),
    }
    for name, (which, expected) in fired.items():
        assert abs(float(which.mean()) - expected) < 0.04, name  # 5 standard deviations
    spread = lambda x, which: float(jnp.std(x[which]))
    spreads = {
        "shift": (spread(blit.shift[:, 0], fired["shift"][0]), 1 / 8 / 3**0.5),
        "scale": (spread(jnp.log2(geom.scale), fired["scale"][0]), 0.2),
        "angle": (spread(geom.angle, geom.angle != 0), np.pi / 3**0.5),
        "stretch": (spread(jnp.log2(geom.stretch), fired["stretch"][0]), 0.2),
        "offset": (spread(geom.offset[:, 1], fired["offset"][0]), 1 / 8),
        "brightness": (spread(color.brightness, fired["brightness"][0]), 0.2),
        "contrast": (spread(jnp.log2(color.contrast), fired["contrast"][0]), 0.5),
        "saturation": (spread(jnp.log2(color.saturation), fired["saturation"][0]), 1.0),
        "noise": (spread(noise[:, 0, 0, 0], fired["noise"][0]), 0.1),
    }
    for name, (found, expected) in spreads.items():
        assert abs(found / expected - 1) < 0.15, name


def test_a_shift_mirrors_the_image_at_its_rim():
    x = smooth(1)
    shift = ada_ops.Changes(ada_ops.Blit(jnp.zeros(1), jnp.zeros(1), jnp.array([[2 / 16, 0.0]])))
    padded = jnp.pad(x, ((0, 0), (0, 0), (2, 0), (0, 0)), mode="reflect")
    np.testing.assert_allclose(change(x, shift), padded[:, :, :16], atol=1e-5)


def test_grey_images_keep_one_channel_and_others_have_no_colour():
    x = smooth()[..., :1]
    grey = augment(x, 1.0, jax.random.key(0))
    three = augment(jnp.repeat(x, 3, -1), 1.0, jax.random.key(0))
    np.testing.assert_allclose(grey, three.mean(-1, keepdims=True), atol=1e-5)
    with pytest.raises(ValueError, match="color=False"):
        ada.augment(smooth()[..., :2], 0.5, jax.random.key(0), blit=False, geom=False)


AUGMENTS = {
    "ada": lambda x, key: ada.augment(x, 0.7, key, **ALL),
    "diffaugment": diffaugment.augment,
}


@pytest.mark.parametrize("name", AUGMENTS)
def test_devices_do_not_matter(name):
    x, key = smooth(), jax.random.key(3)
    split = jax.shard_map(
        AUGMENTS[name],
        mesh=devices.make_mesh(jax.devices()[:4]),
        in_specs=(P(parallel.AXIS), P()),
        out_specs=P(parallel.AXIS),
    )
    alone, many = jax.jit(AUGMENTS[name])(x, key), jax.jit(split)(x, key)
    np.testing.assert_allclose(alone, many, atol=1e-5)
    assert len(np.unique(np.asarray(alone - x).std((1, 2, 3)))) == len(x)  # each in its own way


@pytest.mark.parametrize("name", AUGMENTS)
def test_gradients_reach_the_image_also_those_of_a_penalty(name):
    x, key = smooth(2), jax.random.key(1)

    def penalty(scale):
        judge = lambda x: jnp.sum(jnp.sin(scale * AUGMENTS[name](x, key)))
        return jnp.mean(jnp.square(jax.grad(judge)(x)))

    value, slope = jax.jit(jax.value_and_grad(penalty))(1.3)
    assert value > 0
    assert np.isfinite(slope)
    assert slope != 0


def test_diffaugment_as_in_the_reference():
    g = golden("diffaugment")
    x = nhwc(g["in_x"])
    none, one = jnp.zeros(4), jnp.ones(4)
    draw = lambda name, i=0: jnp.asarray(g[f"in_{name}_r{i}"]).reshape(-1)
    places = lambda name: jnp.stack([draw(name, 0), draw(name, 1)], axis=1)
    found = {
        "brightness": diffaugment.recolor(x, draw("brightness") - 0.5, one, one),
        "saturation": diffaugment.recolor(x, none, 2 * draw("saturation"), one),
        "contrast": diffaugment.recolor(x, none, one, draw("contrast") + 0.5),
        "translation": diffaugment.translate(x, places("translation")),
        "cutout": diffaugment.cut(x, places("cutout")),
    }
    for name, y in found.items():
        np.testing.assert_allclose(y, nhwc(g[f"out_{name}"]), rtol=1e-5, atol=2e-5, err_msg=name)


def test_diffaugment_by_kinds():
    x, key = smooth(256), jax.random.key(0)
    off = {"color": False, "translation": False, "cutout": False}
    np.testing.assert_array_equal(diffaugment.augment(x, key, **off), x)
    hidden = diffaugment.augment(jnp.ones_like(x), key, **off | {"cutout": True}) == 0
    # a box of 8 at 0..16 covers each side's 16 pixels by 8, less what is beyond: 6.94 on average
    np.testing.assert_allclose(hidden.mean(), (6.94 / 16) ** 2, atol=0.02)
    moved = diffaugment.augment(jnp.ones_like(x), key, **off | {"translation": True})
    lost = 16 - np.asarray(moved[:, :, 8, 0].sum(1))
    assert set(lost.tolist()) == {0, 1, 2}


def test_the_controller_goes_towards_the_target():
    p = jnp.float32(0.5)
    assert float(ada.adjust(p, 0.9, 5000)) == pytest.approx(0.51)
    assert float(ada.adjust(p, 0.1, 5000)) == pytest.approx(0.49)
    assert float(ada.adjust(p, 0.6, 5000)) == 0.5
    assert float(ada.adjust(p, 0.1, 500_000)) == 0
    assert float(ada.adjust(p, 0.9, 10, speed=0.0)) == 0.5


def tell(module, variables, scores):
    p, changed = module.apply(variables, scores, mutable=["ada"])
    return p, {**variables, **changed}


def test_the_controller_counts_minibatches():
    module = ada.Controller(start=0.25, interval=2, speed=0.01)
    variables = module.init(jax.random.key(0), jnp.zeros((4, 1)))
    told = []
    for right in (4, 2, 4, 4, 0, 0):  # of 4: signs 1, 0, 1, 1, -1, -1
        p, variables = tell(module, variables, jnp.where(jnp.arange(4) < right, 2.0, -3.0)[:, None])
        told.append(float(p))
    np.testing.assert_allclose(told, [0.25, 0.25, 0.17, 0.17, 0.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(module.apply(variables), 0.17, atol=1e-6)
    assert variables["ada"]["minibatches"] == 0


def test_the_controller_counts_the_images_of_all_devices():
    module = ada.Controller(interval=1, speed=0.01)
    variables = module.init(jax.random.key(0), jnp.zeros(8))
    scores = jnp.array([1.0, 1, 1, 1, 1, 1, 1, -1])  # signs 0.75 together, 0 on the last device
    step = lambda variables, scores: tell(module, variables, scores)[1]
    split = jax.shard_map(
        step,
        mesh=devices.make_mesh(jax.devices()[:4]),
        in_specs=(P(), P(parallel.AXIS)),
        out_specs=P(),
    )
    alone, many = step(variables, scores), jax.jit(split)(variables, scores)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), alone, many)
    assert float(alone["ada"]["p"]) == pytest.approx(0.08)
