"""What every system promises, at toy size: one row a system.

It builds, plays on 4 devices with finite metrics, moves the players that learn, shows, saves,
resumes bit for bit, plays a round from equal states the same on one device, and can be used.

A row with a dash in its name is a variant.  Here its programs are traced, for one device and for
four; `-m variants` compiles and plays them, with all that is asked of the others, and the rows of
`SLOW` with them.
"""

import dataclasses
import importlib
import math
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.commands.launch import train
from jaxgen.data.source import to_program
from jaxgen.errors import UserError
from jaxgen.runs.load import load
from jaxgen.train import devices, nets
from jaxgen.train.abilities import (
    Autoencoder,
    Density,
    Embedder,
    Energy,
    LatentSpace,
    Sampler,
    StyleMixer,
    Translator,
)
from jaxgen.train.game import Sweep
from jaxgen.train.program import compile_rounds
from jaxgen.train.stages import Stage, check_sweep
from tests.experiments.command import metrics
from tests.memory import give_back
from tests.quick import quick_to_compile  # noqa: F401

BATCH = {"size": 8, "batch_size": 8}
SMALL = {**BATCH, "width": 4}
PAIRS = {"data": "pairs:{sets}/pairs"}
STYLE = {**SMALL, "data": "mnist5k", "base": 32, "latent": 4, "ada_images": 64}
ROWS = {
    "gan": ("gan", {**SMALL, "width": 16, "units": 8, "steps": 2}),
    "gan-minimax": ("gan", {**SMALL, "width": 16, "units": 8, "loss": "minimax"}),
    "dcgan": ("dcgan", SMALL),
    "gan-ada": (
        "gan",
        {**SMALL, "width": 16, "units": 8, "augment": "ada", "ada_images": 64, "smoothing": 0.1},
    ),
    "dcgan-diffaugment": (
        "dcgan",
        {**SMALL, "augment": "diffaugment", "instance_noise": 0.1, "instance_noise_rounds": 3},
    ),
    "dcgan-paper": ("dcgan", {**SMALL, "variant": "paper", "channels": 3}),
    "cgan": ("cgan", SMALL),
    "cgan-maxout": (
        "cgan",
        {**BATCH, "conditioning": "maxout", "units": 24, "loss": "non-saturating", "ema": 0.0}
        | {"optimizer": "sgd", "steps": 2},
    ),
    "cgan-concat": ("cgan", {**SMALL, "conditioning": "concat"}),
    "cgan-projection": ("cgan", {**SMALL, "conditioning": "projection"}),
    "icgan": (
        "icgan",
        {**SMALL, "data": "faces-edits:100", "latent": 4, "encoder_width": 2, "latent_units": 8}
        | {"attribute_units": 8, "rounds": 8, "gan_rounds": 1, "encoder_rounds": 1},
    ),
    "biggan": (
        "biggan",
        {**SMALL, "data": "mnist5k", "attention": 8, "latent": 6, "embedding": 4, "width": 2},
    ),
    "biggan-deep": (
        "biggan",
        {**SMALL, "data": "mnist5k", "attention": 0, "latent": 5, "embedding": 4, "deep": True}
        | {"orthogonal": 0.0, "steps": 1},
    ),
    "biggan-plain": (
        "biggan",
        {**SMALL, "data": "mnist5k", "attention": 8, "embedding": 0, "hierarchical": False},
    ),
    "wgan": ("wgan", {**SMALL, "critic_steps": 2, "critic_boost": 3}),
    "wgan-without-norm": (
        "wgan",
        {**SMALL, "critic_steps": 1, "critic_boost": 1, "net": "dcgan-without-norm"},
    ),
    "wgan-mlp": ("wgan", {**SMALL, "critic_steps": 1, "critic_boost": 1, "net": "mlp"}),
    "wgan_gp": ("wgan_gp", {**SMALL, "critic_steps": 2}),
    "wgan_gp-mnist": ("wgan_gp", {**SMALL, "size": 7, "critic_steps": 1, "net": "mnist"}),
    "wgan_gp-cifar": ("wgan_gp", {**SMALL, "critic_steps": 1, "net": "cifar-resnet"}),
    "wgan_gp-labels": (
        "wgan_gp",
        {**SMALL, "critic_steps": 1, "net": "cifar-resnet", "labels": True, "augment": "ada"},
    ),
    "wgan_gp-101": ("wgan_gp", {**SMALL, "critic_steps": 1, "net": "resnet-101"}),
    "wgan_gp-good": ("wgan_gp", {**SMALL, "critic_steps": 1, "net": "good-resnet"}),
    "vae": ("vae", {**BATCH, "units": 16, "latent": 2, "importance_samples": 3}),
    "vae-gaussian": (
        "vae",
        {
            **{**BATCH, "units": 16, "pixels": "gaussian", "importance_samples": 3},
            **{"optimizer": "adagrad", "start": "paper", "weight_decay": 0.1},
        },
    ),
    "beta_tcvae": (
        "beta_tcvae",
        {**BATCH, "data": "sprites:200", "units": 4, "latent": 2, "seeds": 2}
        | {"estimator": "mss", "importance_samples": 2},
    ),
    "beta_tcvae-conv": (
        "beta_tcvae",
        {**BATCH, "data": "sprites:200", "size": 16, "net": "conv", "latent": 2, "seeds": 1}
        | {"importance_samples": 2},
    ),
    "gaussian": (
        "gaussian",
        {**BATCH, "components": 3, "mixture": 2, "gaussian_rounds": 1, "mixture_rounds": 1}
        | {"rounds": 8, "ridge": 1e-2},
    ),
    "autoencoder": (
        "autoencoder",
        {**BATCH, "units": (6,), "latent": 2, "machine_rounds": 1, "tune_rounds": 1, "rounds": 12},
    ),
    "autoencoder-conv": ("autoencoder", {**BATCH, "net": "conv", "latent": 3}),
    "gaussian-sgd": ("gaussian", {**BATCH, "fit": "sgd", "mixture": 0}),
    "pixelcnn": ("pixelcnn", {**SMALL, "layers": 2}),
    "pixelcnn-levels": ("pixelcnn", {**SMALL, "layers": 2, "pixels": "levels", "labels": True}),
    "pixelcnn-plus": (
        "pixelcnn",
        {**SMALL, "layers": 1, "net": "plus", "pixels": "levels", "mixtures": 2},
    ),
    "realnvp": ("realnvp", {**SMALL, "blocks": 1, "scales": 1}),
    "realnvp-two-scales": ("realnvp", {**SMALL, "scales": 2}),
    "ebm": ("ebm", {**SMALL, "steps": 2, "buffer": 16}),
    "ebm-labels": ("ebm", {**SMALL, "steps": 2, "net": "resnet", "labels": True, "ema": 0.9}),
    "pix2pix": ("pix2pix", {**SMALL, **PAIRS, "layers": 1, "variant": "torch"}),
    "pix2pix-l1": ("pix2pix", {**SMALL, **PAIRS, "layers": 1, "objective": "l1"}),
    "pix2pix-pixel": (
        "pix2pix",
        {
            **{**SMALL, **PAIRS, "norm": "instance", "discriminator": "pixel"},
            **{"objective": "gan+l1", "direction": "b-to-a", "flip": True, "random_crop": 10},
        },
    ),
    "cyclegan": (
        "cyclegan",
        {
            **{**BATCH, "data": "domains:{sets}/domains", "width": 2, "discriminator_width": 2},
            **{"blocks": 1, "layers": 1, "pool": 16},
        },
    ),
    "srgan": (
        "srgan",
        {
            **{**SMALL, "size": 20, "data": "folder:{sets}/pairs", "random_crop": 24},
            **{"blocks": 1, "discriminator_width": 2, "rounds": 8},
            **{"pretrain_rounds": 1, "adversarial_rounds": 1},
        },
    ),
    "progan": (
        "progan",
        {
            **{**SMALL, "data": "mnist5k", "base": 16, "latent": 4},
            **{"first_rounds": 4, "stage_rounds": 4, "last_rounds": 4, "fade_rounds": 3},
            **{"rounds": 8},
        },
    ),
    "lapgan": (
        "lapgan",
        {
            **{**SMALL, "data": "mnist5k", "size": 9, "coarser": (4,), "labels": True},
            **{"discriminator_width": 2, "base_width": 4, "base_discriminator_width": 4},
            **{"base_rounds": 1, "level_rounds": 1, "rounds": 8},
        },
    ),
    "stylegan": (
        "stylegan",
        {
            **{**SMALL, "data": "mnist5k", "base": 16, "latent": 4, "layers": 1},
            **{"last_rounds": 4, "fade_rounds": 3},
        },
    ),
    "stylegan2": ("stylegan2", STYLE),
    "gan3d": ("gan3d", {**SMALL, "data": "shapes3d:200", "most_accuracy": 0.8, "ema": 0.9}),
    "stylegan2-diffaugment": (
        "stylegan2",
        {**STYLE, "augment": "diffaugment", "residual": False, "path_weight": 0.0, "mixing": 0.0},
    ),
    "stackgan": (
        "stackgan",
        {
            **{**SMALL, "size": 32, "data": "photos", "patch": 16, "context": 8, "merges": 20},
            **{"text_width": 8, "text_layers": 1, "text_heads": 2, "embedding": 4, "latent": 3},
            **{"condition": 2, "discriminator_width": 2, "blocks": 1},
            **{"first_width": 4, "first_discriminator_width": 2},
            **{"text_rounds": 1, "first_rounds": 1, "second_rounds": 1, "rounds": 12},
        },
    ),
    "clip": (
        "clip",
        {
            **{**BATCH, "data": "photos", "random_crop": 10, "patch": 4, "context": 8},
            **{"width": 8, "layers": 1, "heads": 2, "text_width": 8, "text_layers": 1},
            **{"text_heads": 2, "embedding": 4, "merges": 20, "warm_up": 1},
        },
    ),
}
# How far gradients on one and on four devices may be apart, of their norm, where it is more than
# 1e-5: instance norms of few pixels magnify rounding, by how much depends on the CPU (CycleGAN's
# are within 1e-5 on one, 1.4e-5 and 3.4e-5 apart on another).
ROUNDING = {"cyclegan": 1e-4}
NOT_SWEPT = {"pix2pix": {"dropout"}}  # numbers that decide how a system is built
SLOW = {"stackgan"}  # three stages, which take two minutes
VARIANTS = [name for name in ROWS if "-" in name]
OFTEN = {"log_every": 1, "sample_every": 4, "save_every": 1, "keep": 4}


@pytest.fixture(autouse=True)
def _a_row_is_as_large_as_a_file():
    yield
    give_back()


@pytest.fixture
def on(monkeypatch):
    """Sets how many of the devices a run sees."""
    whole = devices.make_mesh

    def use(n):
        of = lambda d=None, copies=1: whole(d or jax.devices()[:n], copies)
        monkeypatch.setattr(devices, "make_mesh", of)

    return use


def play(experiment, workdir, **flags):
    name = f"jaxgen.experiments.{experiment}"
    module = importlib.import_module(name)
    args = module.Args(**flags, workdir=workdir)
    train(name, module.system, args)
    return module


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    """Folders of small images: pairs and two domains."""
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for side in "AB":
            for folder in (root / "pairs" / split / side, root / "domains" / f"{split}{side}"):
                folder.mkdir(parents=True)
                for i in range(12):
                    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


def forget(folder, after):
    """As if killed after the checkpoint of round `after`."""
    for checkpoint in (folder / "checkpoints").iterdir():
        if checkpoint.name.isdigit() and int(checkpoint.name) > after:
            shutil.rmtree(checkpoint)


def stages(workdir):
    """The folders that hold metrics and checkpoints: the run's own, or those of its stages."""
    return sorted(workdir.glob("[0-9]-*")) or [workdir]


def row_of(row, sets):
    experiment, flags = ROWS[row]
    flags = {k: x.format(sets=sets) if isinstance(x, str) else x for k, x in flags.items()}
    return experiment, {**OFTEN, "rounds": 4, **flags}


def traced(row, sets, *programs):
    """Traces a round of each stage: shapes of the states stay, and metrics are numbers."""
    experiment, flags = row_of(row, sets)
    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    args = module.Args(**flags)
    whole = args.load_data("train")
    built = module.system(args, whole.info)
    parts = built if isinstance(built, list) else [Stage("", built, 1)]
    for stage in parts:
        system, data = stage.system, stage.data or whole
        if callable(data):
            continue  # made of the stage before, which is trained in the contract alone
        states = lambda copies, system=system, data=data: nets.shapes(
            system, lambda n: to_program(data.examples(n), data.info.fields), copies
        )
        batch = next(data.batches(stage.batch_size or args.batch_size, 0))
        count = system.minibatches(system.plan(0))
        batch = jax.tree.map(lambda x, count=count: np.stack([x] * count)[None], batch)
        for n, seeds, precision in programs:
            mesh, own = devices.make_mesh(jax.devices()[:n]), states(seeds)
            options = {"fields": data.info.fields, "augment": data.augment}
            program = compile_rounds(system, mesh, system.plan(0), precision=precision, **options)
            key, first = nets.seeded(0, seeds), np.zeros(1, np.int32)
            after, values = program.trace(nets.placed(own, mesh), batch, first, key).out_info
            shapes = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]
            assert shapes(after) == shapes(own)
            assert {x.shape for x in values.values()} == {(1,)}
            assert len(values) >= len(system.turns) * (1 + (seeds > 1))


@pytest.mark.parametrize("row", VARIANTS)
def test_variants_are_traced(row, sets):
    traced(row, sets, (1, 1, "float32"), (4, 1, "bfloat16"))


@pytest.mark.parametrize("row", [row for row in ROWS if row not in VARIANTS])
def test_seeds_side_by_side_in_bfloat16_are_traced(row, sets):
    traced(row, sets, (4, 2, "bfloat16"))


@pytest.mark.parametrize("row", [row for row in ROWS if row not in {*VARIANTS, *SLOW}])
def test_numbers_can_be_swept(row, sets, traced_floats):
    """All at once but the refused ones."""
    experiment, flags = row_of(row, sets)
    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    args = module.Args(**flags)
    info = args.load_data("train").info

    def check(names):
        own = {name: getattr(args, name) or 0.6 for name in names}
        make = lambda x: dataclasses.replace(args, **{k: x * v for k, v in own.items()})
        build = lambda x: module.system(make(x), info)
        check_sweep(Sweep("factor", (0.5, 0.75), build), info.zeros, args.batch_size)

    refused = NOT_SWEPT.get(row, set())
    check(set(args.numbers()) - refused)
    for name in refused:
        with pytest.raises(UserError, match="decides how the system is built"):
            check({name})


@pytest.mark.parametrize(
    "row",
    [pytest.param(r, marks=pytest.mark.variants if r in {*VARIANTS, *SLOW} else ()) for r in ROWS],
)
def test_contract(row, on, sets, tmp_path, capsys):
    experiment, flags = row_of(row, sets)
    on(4)
    play(experiment, tmp_path / "a", **flags)
    lines = {folder.name: metrics(folder) for folder in stages(tmp_path / "a")}
    for folder in stages(tmp_path / "a"):
        name = folder.name
        assert [line["round"] for line in lines[name]] == [1, 2, 3, 4]
        assert all(math.isfinite(x) for line in lines[name] for x in line.values())
        assert sorted(folder.glob("samples/*"))[-1].name.startswith("round_00000004")
    assert (tmp_path / "a/report.html").is_file()

    trained, before = load(tmp_path / "a"), load(tmp_path / "a", round=2)
    assert (before.round, trained.round) == (2, 4)
    learners = {name for turn in trained.system.turns for name in turn.learners}
    for name, state in trained.states.items():
        pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(before.states[name].params))
        moved = [not np.array_equal(a, b) for a, b in pairs]
        assert sum(moved) > 0.7 * len(moved) if name in learners else not any(moved)
    _is_used(trained)

    # Exact resume.
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    last = stages(tmp_path / "b")[-1]
    forget(last, 2)
    play(experiment, tmp_path / "b", **flags)
    assert "going on from round 2" in capsys.readouterr().err
    assert metrics(last) == lines[stages(tmp_path / "a")[-1].name]
    again = load(tmp_path / "b").states
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(trained.states), strict=True):
        np.testing.assert_array_equal(a, b)

    # A round of every stage from equal states on one device: the last, or the first alone where it
    # has turns that are not played in every round.
    system = trained.system
    done = 3 if system.plan(0) == system.plan(3) else 0
    if done:
        shutil.copytree(tmp_path / "a", tmp_path / "c")
        for folder in stages(tmp_path / "c"):
            forget(folder, done)
    on(1)
    play(experiment, tmp_path / "c", **(flags if done else flags | {"rounds": 1}))
    if done:
        resumed = capsys.readouterr().err.count("going on from round 3")
        assert resumed == len(stages(tmp_path / "a"))
    for four, one in zip(stages(tmp_path / "a"), stages(tmp_path / "c"), strict=True):
        assert len(metrics(one)) == (4 if done else 1)
        for a, b in zip(metrics(four)[done:], metrics(one)[done:]):
            near = 1e-5 if a["round"] == done + 1 else 1e-4  # rounding grows from round to round
            for name in a:  # a spread over seeds rounds as what is spread does
                least = max(1e-6, near * abs(a[name.removesuffix("_spread")]))
                assert math.isclose(a[name], b[name], rel_tol=near, abs_tol=least), (name, a, b)
        a, b = (load(folder, round=done + 1).states for folder in (four, one))
        for player in a:
            _close(a[player], b[player], ROUNDING.get(row, 1e-5))


def _close(a, b, near):
    """States of a player after one round from equal ones, each kind of numbers as one vector.

    Optimizers with a state keep gradients, which are compared in place of weights: Adam turns a
    gradient that is zero but for rounding, that of a bias before a norm, into a whole step.
    """

    def vector(tree):
        leaves = [
            np.ravel(x) for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)
        ]
        return np.concatenate([np.zeros(0), *leaves])

    gradients = vector(a.opt_state).size
    for part in ("opt_state" if gradients else "params", "collections"):
        x, y = vector(getattr(a, part)), vector(getattr(b, part))
        assert np.linalg.norm(x - y) <= near * np.linalg.norm(x) + 1e-7, part


def _is_used(trained):
    """Every ability that it has."""
    system, key, players = trained.system, jax.random.key(1), trained.nets()
    used = jax.jit(lambda f, *args: f(*args), static_argnums=0)
    data = trained.args.load_data("test")
    n = min(4, len(data))
    batch = to_program(data.take(range(n)), data.info.fields)
    shape = trained.info.shape
    assert system.abilities
    for ability in system.abilities:
        if isinstance(ability, Sampler):
            z = ability.prior(key, n)
            condition = {name: batch[name] for name in ability.condition}
            images = used(lambda z: ability.generate(players, z, condition, key), z)
            assert images.shape == (n, *shape)
            assert np.isfinite(images).all()
            asked = {"text": condition["text"][:3]} if "text" in condition else {}
            assert trained.sample(3, batch=3, **asked).shape == (3, *shape)
        if isinstance(ability, Translator):
            inputs, truth = ability.pair(batch)
            made = used(lambda x: ability.translate(players, x, key), inputs)
            assert made.shape == truth.shape
            assert abs(made).max() <= 1 + 1e-5
            height, width = inputs["image"].shape[1:3]
            assert truth.shape[1:3] == (ability.scale * height, ability.scale * width)
            if ability.any_size:
                large = jax.tree.map(lambda x: jnp.tile(x[:1], (1, 2, 1, 1)), inputs)
                made = used(lambda x: ability.translate(players, x, key), large)
                assert made.shape == (1, 2 * truth.shape[1], *truth.shape[2:])
        if isinstance(ability, Density):
            values = used(lambda x: ability.log_prob(players, x, key), batch)
            assert values.shape == (n,)
            assert np.isfinite(values).all()
        if isinstance(ability, Energy):
            values = used(lambda x: ability.values(players, x, key), batch)
            assert values.shape == (n,)
            assert np.isfinite(values).all()
        if isinstance(ability, Autoencoder):
            codes = trained.encode(data.take(range(n))["image"], batch=n)
            assert trained.decode(codes, batch=n).shape == (n, *shape)
        if isinstance(ability, Embedder):
            for part in filter(None, (ability.features, ability.image, ability.text)):
                vectors = used(lambda x, part=part: part(players, x), batch)
                assert vectors.shape[0] == n
                assert vectors.ndim == 2
                assert np.isfinite(vectors).all()
        if isinstance(ability, StyleMixer):
            a, b = system.ability(Sampler).prior(key, 4).reshape(2, 2, -1)
            assert used(lambda a, b: ability.mix(players, a, b, 1), a, b).shape == (2, *shape)
        if isinstance(ability, LatentSpace):
            points = ability.points(players, key, 3)
            images = used(lambda w: ability.generate(players, w, ability.maps(players)), points)
            assert images.shape == (3, *shape)


def test_every_experiment_of_a_system_has_a_row():
    import jaxgen.experiments

    # These have tests of their own.
    others = {"parallel_lines", "equilibrium", "codes", "vae_vs_gan", "gan_augmentation", "gatys"}
    (folder,) = jaxgen.experiments.__path__
    names = {p.stem for p in Path(folder).glob("*.py")} - {"__init__"} - others
    assert names == {experiment for experiment, _ in ROWS.values()}
    assert dataclasses.is_dataclass(importlib.import_module("jaxgen.experiments.wgan").Args)
