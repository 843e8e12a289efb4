"""Projection: its schedule and its regulariser by calculation, and images that are found again."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.errors import UserError
from jaxgen.runs.projecting import search
from jaxgen.sample import projection
from jaxgen.train.abilities import Sampler
from jaxgen.weights.distances import Distance
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs.toys import conditional, styled


def square(_, a, b):
    return ((a - b) ** 2).mean((1, 2, 3))


PLAIN = Distance("square", "", {}, square)


@pytest.fixture(scope="module")
def styles():
    return styled()


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
    """Without noise, the same as Adam in plain NumPy on a quadratic."""
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


def with_abilities(run, *abilities):
    return dataclasses.replace(run, system=dataclasses.replace(run.system, abilities=abilities))


def test_an_image_is_found_again(styles):
    [_, image] = styles.sample(2, seed=5)
    found = styles.project(image, steps=150, distance=PLAIN)
    assert found.step == 150
    assert found.point.shape == (1, 4)
    assert found.maps["fine"].shape == (16, 16)
    assert found.distance < 1e-3
    again = styles.project(np.pad(image, [(0, 0), (8, 8), (0, 0)]), steps=150, distance=PLAIN)
    np.testing.assert_array_equal(again.point, found.point)  # cut as in training


def test_systems_without_a_space_are_searched_among_their_latents(styles):
    sampler = styles.system.ability(Sampler)
    run = with_abilities(styles, sampler)
    [image, _] = run.sample(2, seed=5)
    way = list(search(run, steps=100, distance=PLAIN, every=1)(image))
    assert [found.step for found in way] == list(range(1, 101))
    assert way[-1].maps == ()
    assert way[-1].distance < way[0].distance / 20
    z = sampler.prior(jax.random.split(jax.random.key(5))[1], 1)
    np.testing.assert_allclose(way[-1].point, z, atol=0.1)


def test_the_condition_of_what_is_searched():
    run = conditional()
    image = run.sample(1, text="a", label="blue", flat=True)[0]
    by = lambda label: run.project(image, steps=5, distance=PLAIN, text="a", label=label).image
    shown = np.asarray([by(label)[0, 1, 0] for label in ("blue", 1)])
    np.testing.assert_array_equal(shown.argmax(1), [2, 1])
    with pytest.raises(UserError, match="label is needed, and has no default; there are red, gre"):
        run.project(image, text="a")
    with pytest.raises(UserError, match="conditional takes no shade; leave it out .its"):
        run.project(image, shade=1.0)


def test_latents_that_are_no_vectors(styles):
    for prior in (
        lambda key, n: {"z": jnp.zeros((n, 2)), "label": jnp.zeros(n, jnp.int32)},
        lambda key, n: jnp.zeros((n, 4), jnp.int32),
    ):
        with pytest.raises(UserError, match="the latents of styles are no real vectors"):
            search(with_abilities(styles, Sampler(prior)), distance=PLAIN)


def test_images_without_gradients(styles):
    steps = dataclasses.replace(styles.system.ability(Sampler), differentiable=False)
    with pytest.raises(UserError, match="styles makes images that have no gradients by their"):
        search(with_abilities(styles, steps), distance=PLAIN)


def test_a_search_that_diverges(styles):
    with pytest.raises(UserError, match="lr 1e\\+38 is too high: the search has diverged"):
        styles.project(styles.sample(1)[0], steps=40, lr=1e38, distance=PLAIN)
