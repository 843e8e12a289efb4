"""Samples, walks and mixtures: that nothing but seed, index and choices matters, and how."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.errors import UserError
from jaxgen.runs.choices import condition, conditions, values
from jaxgen.runs.sampling import samples, walk
from jaxgen.train.abilities import Option
from tests.experiments.styles import LAYERS, MEAN
from tests.quick import quick_to_compile  # noqa: F401
from tests.runs.toys import IMAGE, coder, conditional, paired, styled


@pytest.fixture(scope="module")
def styles():
    return styled()


@pytest.fixture(scope="module")
def toy():
    return conditional()


def near(a, b):
    return abs(a.astype(int) - b).max() <= 1


def level(x):
    """Numbers in [-1, 1] as pixels."""
    return np.floor(np.asarray(x) * 127.5 + 128).clip(0, 255)


def test_neither_number_nor_chunks_matter(styles):
    images = styles.sample(20, batch=8)
    assert images.shape == (20, 16, 16, 3)
    assert images.dtype == np.uint8
    assert [len(chunk) for chunk in samples(styles, 20, batch=8)] == [8, 8, 4]
    assert near(styles.sample(7, batch=8), images[:7])
    for batch in (3, 32):  # other programs may round a level up or down
        assert near(styles.sample(20, batch=batch), images)
    assert (styles.sample(20, seed=1, batch=8) != images).any()
    assert len(np.unique(images.reshape(20, -1), axis=0)) == 20


def test_truncation(styles):
    """The toy is linear, so that psi goes along a line through the mean."""
    by = lambda **choices: styles.sample(5, **choices).astype(float)
    whole, mean = by(), by(truncation=0.0)
    assert near(by(truncation=1.0), whole)
    assert near(mean, mean[:1])
    for psi in (0.5, -0.7):
        found, line = by(truncation=psi), mean + psi * (whole - mean)
        inside = (whole > 0) & (whole < 255) & (found > 0) & (found < 255)
        assert inside.mean() > 0.9
        assert abs(found - line)[inside].max() <= 2  # of 255, for rounding


def labels(images, shade=0.5):
    """The label that each image of the toy shows."""
    shown = images[:, 1, 0]
    assert (np.sort(shown) == [128, 128, level(shade)]).all()
    return list(shown.argmax(1))


def test_labels_are_the_classes_in_turn_one_or_several(toy):
    by = lambda **choices: labels(toy.sample(7, text="a", batch=4, **choices))
    assert by() == [0, 1, 2, 0, 1, 2, 0]
    assert by(label=2) == by(label="blue") == by(label=np.int64(2)) == by(label="2") == [2] * 7
    assert by(label=["blue", 0]) == by(label=np.array([2, 0])) == [2, 0, 2, 0, 2, 0, 2]
    assert by(label=range(3)) == by()


def test_texts_are_read(toy):
    words = lambda **choices: toy.sample(4, batch=3, **choices)[:, 2, 0, 0]
    one, two = (int((toy.info.vocabulary(text) > 0).sum()) for text in ("a", "a bc"))
    assert two == one + 2
    np.testing.assert_array_equal(words(text="a bc"), level([two / 16] * 4))
    np.testing.assert_array_equal(words(text=["a", "a bc"]), level([one / 16, two / 16] * 2))
    np.testing.assert_array_equal(words(text=toy.info.vocabulary("a")), level([one / 16] * 4))
    for empty in ("", "  ", [], ["a", ""]):
        with pytest.raises(UserError, match="^text is empty; say what the image shows$"):
            words(text=empty)
    info = dataclasses.replace(toy.info, vocabulary=None)
    with pytest.raises(UserError, match="text is given as tokens here"):
        dataclasses.replace(toy, info=info).sample(2, text="a")


def test_attributes_by_name_or_as_vectors(toy):
    by = lambda x=None: toy.sample(2, text="a", **({} if x is None else {"attributes": x}))[:, 3, 0]
    assert (by() == 128).all()
    np.testing.assert_array_equal(by({"old": 0.5}), [level([0, 0.5, 0])] * 2)
    np.testing.assert_array_equal(by((-0.5, 0.5)), [level([-0.5, 0.5, 0])] * 2)
    for several in ([{"smiling": 0.5}, {}], np.array([[0.5, 0], [0, 0]])):
        np.testing.assert_array_equal(by(several), [level([0.5, 0, 0]), level([0, 0, 0])])


def test_pictures_as_conditions():
    info = DataInfo((4, 6, 3), {"image": IMAGE, "mask": Field("mask")})
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    [cut] = condition(info, "image", picture)
    assert cut.shape == (4, 6, 3)
    np.testing.assert_array_equal(condition(info, "image", cut), [cut])
    assert condition(info, "image", np.stack([picture, picture])).shape == (2, 4, 6, 3)
    mask = np.full((8, 8, 1), 255, np.uint8)
    assert (conditions(info, ["mask"], {"mask": mask}, 2)["mask"] == np.ones((2, 4, 6, 1))).all()


def test_options_and_the_noise_besides_the_latents(toy):
    assert labels(toy.sample(3, text="a", shade=0.25), 0.25) == [0, 1, 2]
    noise = lambda **choices: toy.sample(6, text="a", batch=3, **choices)[:, 0, :, 2]
    assert (noise(flat=True) == 128).all()
    assert len(np.unique(noise(), axis=0)) == 6  # another one in every chunk
    np.testing.assert_array_equal(noise(), noise())
    assert (noise() != noise(seed=1)).any()


def test_a_program_serves_many_calls(toy):
    calls = []
    sampler = toy.system.abilities[0]

    def generate(*args, **options):
        calls.append(options)
        return sampler.generate(*args, **options)

    own = dataclasses.replace(sampler, generate=generate)
    system = dataclasses.replace(toy.system, abilities=(own,))
    run = dataclasses.replace(toy, system=system)
    for seed in range(3):
        run.sample(5, seed=seed, batch=2, text="a", label=seed)
    assert calls == [{"shade": 0.5, "flat": False}]


@pytest.mark.parametrize(
    ("choices", "problem"),
    [
        (
            {"size": 3},
            "conditional takes no size; leave it out (its choices are label, text, att",
        ),
        ({}, "text is needed, and has no default; give one"),
        ({"text": "a", "label": "gren"}, "label 'gren' is not known; did you mean green?"),
        ({"text": "a", "label": "x"}, "label 'x' is not known; there are red, green, blue"),
        ({"text": "a", "label": 3}, "label is from 0 to 2, not 3"),
        ({"text": "a", "label": [0, -1]}, "label is from 0 to 2, not -1"),
        ({"text": "a", "attributes": {"odl": 1}}, "'odl' is not known; did you mean old?"),
        ({"text": "a", "attributes": [1, 2, 3]}, "attributes has 2 values, not 3"),
    ],
)
def test_what_the_sampler_does_not_take(toy, choices, problem):
    with pytest.raises(UserError) as error:
        toy.sample(2, **choices)
    assert problem in str(error.value)


@pytest.mark.parametrize("numbers", [{"n": 0}, {"n": 2, "batch": 0}, {"n": -3, "batch": 2}])
def test_numbers_below_one(styles, numbers):
    with pytest.raises(UserError, match=r"^(n|batch) is at least 1, not (0|-3)$"):
        styles.sample(**numbers)


def test_a_run_is_shown_in_a_line(toy):
    assert repr(toy) == "TrainedRun(round=1, name='conditional', folder=None, copy=None)"


def test_a_translator_without_noise(toy):
    with pytest.raises(UserError, match="makes no images from noise; translate makes some"):
        paired().sample(1)


def test_choices_where_there_are_none(styles):
    system = styles.system
    sampler = dataclasses.replace(system.abilities[0], options={})
    bare = dataclasses.replace(styles, system=dataclasses.replace(system, abilities=(sampler,)))
    with pytest.raises(UserError, match="styles takes no label; leave it out$"):
        bare.sample(2, label=3)
    with pytest.raises(UserError, match="styles has no styles to mix"):
        bare.mix()
    without = dataclasses.replace(system, abilities=(), show=lambda nets, batch, key: {})
    bare = dataclasses.replace(styles, system=without)
    image = np.zeros((16, 16, 3), np.uint8)
    for use in (bare.sample, bare.interpolate, lambda: bare.project(image)):
        with pytest.raises(UserError, match="styles makes no images from noise"):
            use()


def test_the_walk_passes_the_samples_and_closes(styles):
    frames = np.concatenate(list(walk(styles, n=3, frames=4, seed=2, batch=5)))
    assert frames.shape == (12, 16, 16, 3)
    images = styles.sample(3, seed=2)
    assert near(frames[::4], images)
    steps = np.abs(frames - np.roll(frames, 1, axis=0).astype(float)).mean(axis=(1, 2, 3))
    assert steps.max() < 0.7 * np.abs(images - np.roll(images, 1, axis=0).astype(float)).mean()
    frames = styles.interpolate(2, 2, seed=1, truncation=0.5)
    assert near(frames[::2], styles.sample(2, seed=1, truncation=0.5))


def test_a_passage_between_images_goes_straight_through_their_codes(styles):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(2))
    run = coder()
    frames = run.between([a, b], 4, batch=3)
    assert frames.shape == (8, 8, 8, 3)
    ends = run.translate(a).astype(float), run.translate(b).astype(float)
    for frame, t in zip(frames, [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25], strict=True):
        assert near(frame, (1 - t) * ends[0] + t * ends[1])
    larger = a.repeat(2, axis=0).repeat(2, axis=1)  # cut and resized as in training
    assert abs(run.between([larger, b], 1)[0] - ends[0]).mean() < 20
    for n in (0, 1):
        with pytest.raises(UserError, match=f"a walk is between 2 images or more, not {n}"):
            run.between([a] * n)
    with pytest.raises(UserError, match="styles has no encoder"):
        styles.between([a, b])


def test_a_traversal_moves_one_number_at_a_time(styles):
    frames = styles.traverse(2, 3, seed=2, batch=4)
    assert frames.shape == (6, 16, 16, 3)
    sampler = styles.system.abilities[0]
    z = np.asarray(sampler.prior(jax.random.split(jax.random.key(2), 3)[1], 1))
    assert near(styles.sample(1, seed=2), level(sampler.generate(styles.nets(), z, {}, None)))
    for j, step, value in ((0, 0, -2), (1, 1, 0), (1, 2, 2)):
        moved = z.copy()
        moved[0, j] = value
        image = level(sampler.generate(styles.nets(), moved, {}, None))[0]
        assert near(frames[3 * j + step], image)
    assert len(styles.traverse(frames=1)) == z.shape[1]
    with pytest.raises(UserError, match="n is at most 4, the numbers of a latent, not 5"):
        styles.traverse(5)
    pixelwise = dataclasses.replace(sampler, traversable=False)
    system = dataclasses.replace(styles.system, abilities=(pixelwise,))
    with pytest.raises(UserError, match="styles are noise for every pixel.*so none is traversed"):
        dataclasses.replace(styles, system=system).traverse()


def test_a_plane_lies_between_four_samples(styles, toy):
    """The sheet's edges are the walks between the samples."""
    images = styles.plane(3, seed=2, batch=4)
    assert images.shape == (9, 16, 16, 3)
    assert near(images[[0, 2, 6, 8]], styles.sample(4, seed=2))
    frames = styles.interpolate(4, 2, seed=2)
    assert near(images[[1, 7]], frames[[1, 5]])
    assert labels(toy.plane(2, text="a", label=[2, 1])) == [2] * 4
    with pytest.raises(UserError, match="^frames are 2 or more in each direction, not 1$"):
        styles.plane(1)


def test_conditions_on_a_walk(toy):
    attributes = np.array([[0.5, 0], [0, 0], [-0.5, 0]])
    frames = toy.interpolate(3, 2, text="a", attributes=attributes)
    assert labels(frames) == [0, 0, 1, 1, 2, 2]
    middle = [0.5, 0.25, 0, -0.25, -0.5, 0]
    np.testing.assert_array_equal(frames[:, 3, 0, 0], level(middle))


def expected(run, rows, columns, layer, psi, seed):
    """The cells in plain NumPy, from the toy's weights."""
    prior = run.system.abilities[0].prior
    z = np.asarray(prior(jax.random.split(jax.random.key(seed))[1], rows + columns))
    basis = np.asarray(run.states["g"].params["basis"])
    cells = np.empty((rows, columns, *basis.shape[2:]))
    for i in range(rows):
        for j in range(columns):
            who = [i if at < layer else rows + j for at in range(LAYERS)]
            ws = MEAN + psi * 0.5 * z[who]
            cells[i, j] = sum(np.tensordot(ws[at], basis[at], 1) for at in range(LAYERS))
    return cells


@pytest.mark.parametrize(("layer", "psi"), [(1, 1.0), (2, 0.5), (2, -1.0)])
def test_cells_have_the_coarse_styles_of_their_row_and_the_fine_ones_of_their_column(
    styles, layer, psi
):
    rows, columns = 2, 3
    cells = styles.mix(rows, columns, layer, truncation=psi, seed=4, batch=5)
    assert cells.shape == ((rows + 1) * (columns + 1), 16, 16, 3)
    cells = cells.reshape(rows + 1, columns + 1, 16, 16, 3)
    assert (cells[0, 0] == 255).all()
    drawn = styles.sample(rows + columns, seed=4, truncation=psi)
    assert near(cells[1:, 0], drawn[:rows])
    assert near(cells[0, 1:], drawn[rows:])
    assert near(cells[1:, 1:], level(expected(styles, rows, columns, layer, psi, seed=4)))


def test_layers(styles):
    np.testing.assert_array_equal(styles.mix(1, 2), styles.mix(1, 2, 1))  # half of three
    for layer in (0, 3):
        with pytest.raises(UserError, match=f"layer is from 1 to 2, not {layer}"):
            styles.mix(1, 2, layer)
    with pytest.raises(UserError, match="styles takes no label; leave it out .its choices are tr"):
        styles.mix(1, 2, label=1)


def test_options_have_ranges():
    options = {"keep": Option(0.5, "Share", low=0, high=1), "steps": Option(10, "Steps", low=1)}
    assert dict(values(options, {"keep": 1.0})) == {"keep": 1.0, "steps": 10}
    for given, said in (
        ({"keep": 1.5}, "keep is from 0 to 1, not 1.5"),
        ({"keep": float("nan")}, "keep is from 0 to 1, not nan"),
        ({"steps": 0}, "steps is at least 1, not 0"),
    ):
        with pytest.raises(UserError, match=f"^{said}$"):
            values(options, given)
