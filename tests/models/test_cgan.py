"""Networks that are told a label: golden numbers, parameter counts, what reaches what."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.losses import adversarial
from jaxgen.models import cgan
from jaxgen.models.wgan_gp import CifarGenerator

GOLDEN = Path(__file__).parents[1] / "golden"
KEYS = {"params": jax.random.key(0), "dropout": jax.random.key(1)}


@pytest.fixture(autouse=True)
def exact():
    with jax.default_matmul_precision("highest"):
        yield


def dense(golden, name):
    weight, bias = (jnp.asarray(golden[f"param_{name}.{part}"]) for part in ("weight", "bias"))
    return {"kernel": weight.T, "bias": bias}


def test_the_papers_perceptrons_are_the_references():
    golden = np.load(GOLDEN / "d/cgan_maxout.npz")
    label = jnp.asarray(golden["in_class"])
    generator = cgan.MaxoutGenerator((12, 1, 1), 3, (6, 8, 10), dropout=0.0)
    parts = {"z": "z", "label": "y", "joint": "joint", "out": "out"}
    params = {ours: dense(golden, f"G.{theirs}") for ours, theirs in parts.items()}
    x = generator.apply({"params": params}, jnp.asarray(golden["in_z"]), label)
    np.testing.assert_allclose((x[:, :, 0, 0] + 1) / 2, golden["out_x"], atol=1e-6)

    discriminator = cgan.MaxoutDiscriminator(3, (6, 5), (4, 5), (6, 4))
    parts = {"of_image": "x", "of_label": "y", "of_both": "joint"}
    params = {ours: {"Dense_0": dense(golden, f"D.{theirs}")} for ours, theirs in parts.items()}
    params["out"] = dense(golden, "D.out")
    apply = lambda x: discriminator.apply({"params": params}, x, label, train=False)
    real = 2 * jnp.asarray(golden["in_x_real"]).reshape(-1, 12, 1, 1) - 1
    on_real, on_fake = apply(real), apply(x)
    np.testing.assert_allclose(on_real, golden["out_D_logit_real"], atol=1e-5)
    np.testing.assert_allclose(on_fake, golden["out_D_logit_fake"], atol=1e-5)
    pair = adversarial.non_saturating
    losses = pair.discriminator(on_real, on_fake), pair.generator(on_fake)
    wanted = golden["out_d_loss_sum"], golden["out_g_loss_nonsaturating"]
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)


@pytest.fixture(scope="module")
def projection():
    """The reference's numbers, its images and labels, and its body's variables by collection."""
    golden = np.load(GOLDEN / "d/projection_discriminator.npz")
    params, spectral = {}, {}
    for i in range(3):
        params[f"block_{i}"], spectral[f"block_{i}"] = {}, {}
        convs = {"first": "c1", "second": "c2"} | ({"shortcut": "sc"} if i < 2 else {})
        for ours, theirs in convs.items():
            of = lambda part, name=f"param_block{i + 1}.{theirs}": jnp.asarray(
                golden[f"{name}.{part}"]
            )
            kernel = of("weight").transpose(2, 3, 1, 0)
            params[f"block_{i}"][ours] = {"kernel": kernel, "bias": of("bias")}
            spectral[f"block_{i}"][ours] = {"spectral": {"u": of("u")[0]}}
    score = {"kernel": jnp.asarray(golden["param_linear.weight"]).T}
    u = lambda name: {"spectral": {"u": jnp.asarray(golden[f"param_{name}.u"])[0]}}
    return {
        "golden": golden,
        "x": jnp.asarray(np.moveaxis(golden["in_x"], 1, -1)),
        "label": jnp.asarray(golden["in_class"]),
        "body": cgan.Residual((4, 6, 6), (True, True, False)),
        "params": {"body": params, "score": score},
        "spectral": {"body": spectral, "score": u("linear"), "embed": u("embed")},
    }


def test_projection_discriminator_is_the_references(projection):
    golden, params = projection["golden"], projection["params"]
    embed = {"embedding": jnp.asarray(golden["param_embed.weight"])}
    score, after = cgan.ProjectionDiscriminator(projection["body"], 5).apply(
        {"params": {**params, "embed": embed}, "spectral": projection["spectral"]},
        *(projection["x"], projection["label"]),
        mutable=["spectral"],
    )
    wanted = golden["out_projection_logit"] - golden["param_linear.bias"]  # ours has none
    np.testing.assert_allclose(score, wanted, atol=1e-5)
    after = after["spectral"]
    for ours, theirs in [
        (after["body"]["block_0"]["first"], "block1.c1"),
        (after["body"]["block_1"]["shortcut"], "block2.sc"),
        (after["embed"], "embed"),
    ]:
        u = ours["spectral"]["u"]
        np.testing.assert_allclose(u, golden[f"out_{theirs}.u_after"][0], atol=1e-6)


def test_auxiliary_discriminator_is_the_references(projection):
    golden, spectral = projection["golden"], dict(projection["spectral"])
    del spectral["embed"]
    params = {**projection["params"], "class": dense(golden, "acgan")}
    score, classes = cgan.AuxiliaryDiscriminator(projection["body"], 5).apply(
        {"params": params, "spectral": spectral}, projection["x"]
    )
    wanted = golden["out_unconditional_logit"] - golden["param_linear.bias"]
    np.testing.assert_allclose(score, wanted, atol=1e-5)
    np.testing.assert_allclose(classes, golden["out_acgan_class_logits"], atol=1e-5)
    label = projection["label"]
    loss = optax.softmax_cross_entropy_with_integer_labels(classes, label).mean()
    np.testing.assert_allclose(loss, golden["out_acgan_class_loss"], rtol=1e-5)


COUNTS = {
    "maxout": (cgan.MaxoutGenerator(), cgan.MaxoutDiscriminator(), (28, 28, 1)),
    "concat": (cgan.ConcatGenerator(), cgan.ConcatDiscriminator(), (28, 28, 1)),
    "projection": (
        *(CifarGenerator(dim=256, classes=10), cgan.ProjectionDiscriminator(cgan.Residual())),
        (32, 32, 3),
    ),
    "acgan": (None, cgan.AuxiliaryDiscriminator(cgan.Residual()), (32, 32, 3)),
}


@pytest.mark.parametrize(
    ("name", "of_generator", "of_discriminator"),
    [
        ("maxout", 2_413_984, 1_224_351),
        ("concat", 6_820_538, 6_688_202),  # DCGAN's released code
        ("projection", 4_304_387, 1_055_104),
        ("acgan", 0, 1_053_824 + 10 * 129),  # without a label, and a dense layer to ten classes
    ],
)
def test_parameter_counts(name, of_generator, of_discriminator):
    generator, discriminator, shape = COUNTS[name]
    label = [jnp.zeros(2, jnp.int32)]

    def count(module, *inputs):
        params = jax.eval_shape(lambda: module.init(KEYS, *inputs))["params"]
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))

    latent = 128 if name == "projection" else 100
    if generator:
        assert count(generator, jnp.zeros((2, latent)), *label) == of_generator
    told = label * (name != "acgan")
    assert count(discriminator, jnp.zeros((2, *shape)), *told) == of_discriminator
