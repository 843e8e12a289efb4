"""Projection: its schedule and its regulariser by calculation, and images that are found again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxgen.commands import project as command
from jaxgen.commands.restore import open_run
from jaxgen.commands.sample import samples
from jaxgen.errors import UserError
from jaxgen.sample import projection
from jaxgen.train.game import Use
from jaxgen.weights import distances


def square(_, a, b):
    return ((a - b) ** 2).mean((1, 2, 3))


@pytest.fixture
def plain(monkeypatch):
    """The mean squared difference in place of the perceptual distances."""
    stub = distances.Distance("square", "", {}, square)
    monkeypatch.setattr(distances, "distance", lambda name, weights: stub)
    return stub


def test_schedules():
    """By hand, from appendix D: 50, 750 and 250 of 1000 steps."""
    t = jnp.asarray([0, 0.025, 0.05, 0.5, 0.75, 0.875, 1])
    np.testing.assert_allclose(projection.rate(t), [0, 0.5, 1, 1, 1, 0.5, 0], atol=1e-6)
    found = projection.agitation(t)
    fixed = [0.05, 0.05 * (29 / 30) ** 2, 0.05 * (14 / 15) ** 2, 0.05 / 9, 0, 0, 0]
    np.testing.assert_allclose(found, fixed, rtol=1e-5, atol=1e-9)


def correlations(x):
    """L of one map, pixel by pixel."""
    total, side = 0.0, len(x)
    while True:
        right = sum(x[i, j] * x[i, j - 1] for i in range(side) for j in range(side))
        below = sum(x[i, j] * x[i - 1, j] for i in range(side) for j in range(side))
        total += (right / side**2) ** 2 + (below / side**2) ** 2
        if side <= 8:
            return total
        side //= 2
        blocks = [
            [x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] for j in range(side)] for i in range(side)
        ]
        x = np.asarray([[block.mean() for block in row] for row in blocks])


def test_neighbours_are_correlated_over_the_pyramid():
    rng = np.random.default_rng(0)
    maps = {f"b{side}": rng.normal(size=(side, side)) + 0.3 for side in (4, 8, 16, 32)}
    total = sum(correlations(x) for x in maps.values())
    found = projection.neighbours({k: jnp.float32(x) for k, x in maps.items()})
    assert float(found) == pytest.approx(total, rel=1e-4)
    # white noise has next to none, a smooth map the most there is: 2 a level
    smooth = jnp.ones((32, 32))
    assert float(projection.neighbours([smooth])) == pytest.approx(6)
    assert float(projection.neighbours(())) == 0


def test_maps_are_normalised():
    x = jax.random.normal(jax.random.key(0), (16, 16)) * 3 + 2
    [made] = projection.normalised([x])
    assert abs(float(made.mean())) < 1e-6
    assert float(made.var()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(made, (x - x.mean()) / x.std(), atol=1e-5)


def test_what_the_distance_sees():
    rng = np.random.default_rng(1)
    large = jnp.float32(rng.normal(size=(1, 512, 512, 1)))
    blocks = large.reshape(1, 256, 2, 256, 2, 1).mean((2, 4))
    np.testing.assert_allclose(projection.visible(large), blocks, atol=1e-6)
    row = np.asarray(projection.visible(large[:, :300, :256])[0, :, 0, 0])
    source = np.asarray(large[0, :300, 0, 0])
    for i in range(256):  # every pixel that lies under i's share of the axis
        under = source[int(np.floor(i * 300 / 256)) : int(np.ceil((i + 1) * 300 / 256))]
        assert row[i] == pytest.approx(under.mean(), abs=1e-5)
    fits = large[:, :128, :128]
    assert projection.visible(fits) is fits
    small = projection.visible(jnp.full((1, 16, 16, 3), 0.5))
    assert small.shape == (1, 64, 64, 3)
    np.testing.assert_allclose(small, 0.5)


def test_the_centre_of_many_points():
    scale = jnp.asarray([1.0, 2.0, 0.5])
    n = projection.AT_A_TIME
    points = lambda key: 3 + scale * jax.random.normal(key, (n, 3))
    mean, sigma = projection.centre(points, jax.random.key(0))
    np.testing.assert_allclose(mean, [[3, 3, 3]], atol=0.1)
    assert sigma == pytest.approx(float(jnp.sqrt((scale**2).sum())), rel=0.02)  # not by axis


def problem(steps, lr=0.1):
    """A linear generator of five numbers, and the point that is to be found."""
    basis = jax.random.normal(jax.random.key(1), (5, 8, 8, 1)) / 3
    generate = lambda basis, w, maps: jnp.tensordot(w, basis, 1) + 0.01 * sum(maps)[..., None]
    truth = jnp.asarray([[0.5, -1, 0.2, 1.5, -0.3]])
    target = generate(basis, truth, [jnp.zeros((8, 8))])
    project = projection.projector(generate, square, steps, lr)
    start = (jnp.zeros((1, 5)), 1.0, [jnp.zeros((8, 8))])

    def run(every, seed=0):
        return list(project(basis, target, *start, jax.random.key(seed), every))

    return truth, run


def test_a_point_is_found_again_and_the_seed_says_how():
    truth, run = problem(200)
    way = run(30)
    assert [found.step for found in way] == [30, 60, 90, 120, 150, 180, 200]
    last = way[-1]
    assert last.distance < way[0].distance / 100
    np.testing.assert_allclose(last.point, truth, atol=0.02)
    [noise] = last.maps
    assert abs(float(noise.mean())) < 1e-5
    assert float(noise.var()) == pytest.approx(1, abs=1e-4)
    # neither another run nor where the steps are cut changes a bit of it
    for other in (run(30)[-1], run(200)[-1]):
        np.testing.assert_array_equal(other.point, last.point)
        np.testing.assert_array_equal(other.maps[0], noise)
    assert (np.asarray(run(200, seed=1)[-1].maps[0]) != np.asarray(noise)).any()


def test_the_steps_are_those_of_adam_at_the_scheduled_rate():
    """Without noise, beside Adam in plain NumPy on a quadratic."""
    rng = np.random.default_rng(2)
    basis, truth, steps = rng.normal(size=(3, 64 * 64)), rng.normal(size=3), 40
    w, m, v = np.zeros(3), 0.0, 0.0
    for step in range(steps):
        t = step / steps
        down = 0.5 - 0.5 * np.cos(np.pi * min(1, (1 - t) / 0.25))
        gradient = 2 * basis @ ((w - truth) @ basis) / basis.shape[1]
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        by = (m / (1 - 0.9 ** (step + 1))) / (np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8)
        w = w - 0.1 * down * min(1, t / 0.05) * by
    generate = lambda basis, w, maps: (w @ basis).reshape(1, 64, 64, 1)
    project = projection.projector(generate, square, steps, lr=0.1)
    target = jnp.float32(truth @ basis).reshape(1, 64, 64, 1)
    start = (jnp.zeros((1, 3)), 0.0, ())
    [found] = project(jnp.float32(basis), target, *start, jax.random.key(0), steps)
    np.testing.assert_allclose(found.point[0], w, rtol=1e-3)
    assert found.distance == pytest.approx((((w - truth) @ basis) ** 2).mean(), rel=1e-2)


@pytest.fixture(scope="module")
def files(styled, tmp_path_factory):
    """Two samples as files, which are there to be found again, and their pixels."""
    [images] = samples(open_run(styled), 2, seed=5)
    folder = tmp_path_factory.mktemp("files")
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder, images


def test_a_persons_files(styled, files, jaxgen, plain, tmp_path):
    folder, images = files
    out = tmp_path / "out"
    words = ("--steps", 150, "--out", out)
    code, said, problem = jaxgen("project", styled, folder, *words, "--film")
    assert (code, problem) == (0, "")
    names = [f"{i}{end}" for i in range(2) for end in (".png", ".npz", ".mp4")]
    assert said.split() == [str(out / name) for name in names]
    for i in range(2):
        sheet = np.asarray(Image.open(out / f"{i}.png")).astype(int)
        assert sheet.shape == (16, 34, 3)
        np.testing.assert_array_equal(sheet[:, :16], images[i])
        assert abs(sheet[:, 18:] - images[i]).mean() < 4
        with np.load(out / f"{i}.npz") as kept:
            assert sorted(kept) == ["distance", "maps/fine", "point"]
            assert kept["point"].shape == (4,)
            assert kept["maps/fine"].shape == (16, 16)
            assert kept["distance"] < 1e-3
            point = kept["point"]
        assert (out / f"{i}.mp4").read_bytes()[4:8] == b"ftyp"
    # the second image alone, and at the usual place: the same to the bit
    code, said, _ = jaxgen("project", styled, folder / "1.png", "--steps", 150)
    usual = styled / "use" / "projected_round_00000001"
    assert said.split() == [str(usual / "1.png"), str(usual / "1.npz")]
    with np.load(usual / "1.npz") as kept:
        np.testing.assert_array_equal(kept["point"], point)


def test_systems_without_a_space_are_searched_among_their_latents(styled, files, plain):
    opened = open_run(styled)
    use = dataclasses.replace(opened.system.use, space=None)
    opened = dataclasses.replace(opened, system=dataclasses.replace(opened.system, use=use))
    way = list(command.search(opened, plain, 100, lr=0.1, seed=0)(files[1][0]))
    assert [found.step for found in way] == list(range(1, 101))
    assert way[-1].maps == ()
    assert way[-1].distance < way[0].distance / 20
    z = use.latent(jax.random.split(jax.random.key(5))[1], 1)
    np.testing.assert_allclose(way[-1].point, z, atol=0.1)


def test_latents_that_are_no_vectors(styled, plain):
    opened = open_run(styled)
    for latent in (
        lambda key, n: {"z": jnp.zeros((n, 2)), "label": jnp.zeros(n, jnp.int32)},
        lambda key, n: jnp.zeros((n, 4), jnp.int32),
    ):
        system = dataclasses.replace(opened.system, use=Use(latent, opened.system.use.generate))
        with pytest.raises(UserError, match="the latents of styles are no real vectors"):
            command.search(dataclasses.replace(opened, system=system), plain, 1, 0.1, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name an image file, or a folder of them, after the run"),
        (["none.png"], "there is no none.png; name image files, or a folder"),
        (["{broken}"], "is not a readable image"),
        (["{file}", "--steps", 0], "--steps is at least 1, not 0"),
        (["{file}", "--seed", -1], "--seed is at least 0, not -1"),
        (["{file}", "--lr", 0], "--lr is a number above 0, not 0"),
        (["{file}", "--lr", "nan"], "--lr is a number above 0, not nan"),
        (["{file}", "--lr", "1e38", "--steps", 40], "0: the search has diverged; try a lower --lr"),
        (["{file}", "--distance", "l2"], "--distance is 'squeezenet-distance', 'lpips-vgg' or"),
        (["{file}", "--steps", 1, "--out", "/proc/nowhere"], "/proc/nowhere cannot be written"),
    ],
)
def test_mistakes(words, said, styled, files, plain, jaxgen, tmp_path):
    folder, _ = files
    (tmp_path / "broken.png").write_bytes(b"no image")
    known = {"{file}": folder / "0.png", "{broken}": tmp_path / "broken.png"}
    code, _, line = jaxgen("project", styled, *(known.get(word, word) for word in words))
    assert code == 2
    assert said in line
    assert line.count("\n") == 1


def test_missing_weights(styled, files, jaxgen, tmp_path):
    folder, _ = files
    words = ("--distance", "lpips-vgg", "--weights", tmp_path / "vgg.pth")
    code, _, line = jaxgen("project", styled, folder, *words)
    assert (code, line.count("\n")) == (2, 1)
    assert "vgg.pth" in line or "pip install --no-deps lpips" in line  # whichever is missed first


def test_a_system_that_makes_no_images_from_noise(styled, plain):
    opened = open_run(styled)
    useless = dataclasses.replace(opened, system=dataclasses.replace(opened.system, use=None))
    with pytest.raises(UserError, match="styles makes no images from noise"):
        command.search(useless, plain, 1, 0.1, 0)
