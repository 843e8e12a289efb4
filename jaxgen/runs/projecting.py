"""A user's image searched for among those that a trained run can generate."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.data.images import to_input
from jaxgen.data.source import to_float, to_program
from jaxgen.errors import UserError
from jaxgen.runs.choices import of_one_image, values
from jaxgen.runs.sampling import checked_sampler, prepared
from jaxgen.sample import projection
from jaxgen.sample.projection import Found
from jaxgen.train.abilities import LatentSpace
from jaxgen.train.nets import bind
from jaxgen.weights import distances

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun


def project(trained: "TrainedRun", image: np.ndarray, **options) -> Found:
    """The point whose image is nearest to an image uint8 [H, W, C], which is cut and resized as in
    training; for the options see `search`."""
    [*_, found] = search(trained, **options)(to_input(image, trained.info))
    return found


def search(
    trained: "TrainedRun",
    *,
    steps: int = 1000,
    lr: float = 0.1,
    distance: str | distances.Distance = "squeezenet-distance",
    weights: Path | None = None,
    seed: int = 0,
    every: int | None = None,
    **condition,
) -> Callable[[np.ndarray], Iterator[Found]]:
    """From an image uint8 [H, W, C] of the training's form to where the search is after every
    `every` steps; the last is its result.  Images share the programs of the search, which is
    described in `jaxgen.sample.projection`.

    steps, lr: length of the search, and its learning rate.
    distance: how images are compared, one of `jaxgen.weights.distances`.  weights: its file.
    every: by default all steps.
    condition: that of the generated image, such as label=3, where the latents themselves are
      searched.

    An image's way depends on the seed and on nothing else.  UserError where the latents are not
    vectors of real numbers or images have no gradients by them, for a condition that is lacking,
    and where the search diverges.
    """
    space = trained.system.ability(LatentSpace)
    sampler = checked_sampler(trained, condition, conditions=space is None, options=False)
    key, key_net, key_points = jax.random.split(jax.random.key(seed), 3)
    if space is None:
        if sampler.of != "image":
            raise UserError(
                f"{trained.name} makes {sampler.of}, among which no image is searched for"
            )
        if not sampler.differentiable:
            raise UserError(
                f"{trained.name} makes images that have no gradients by their latents, so none is "
                "searched for; use the run of another system, such as a GAN or a vae"
            )
        one = jax.eval_shape(lambda key: sampler.prior(key, 1), key)
        if not (isinstance(one, jax.ShapeDtypeStruct) and jnp.issubdtype(one.dtype, jnp.floating)):
            raise UserError(
                f"the latents of {trained.name} are no real vectors; only those can be searched"
            )
        info, value = trained.info, condition.get
        rows = {name: of_one_image(info, name, value(name)) for name in sampler.condition}
        given = to_program(rows, info.fields)
        trained = prepared(trained, sampler, values(sampler.options, {}))
        space = LatentSpace(
            lambda nets, key, n: sampler.prior(key, n),
            lambda nets, z, maps: sampler.generate(nets, z, given, key_net),
            lambda nets: (),
        )
    compared = distance
    if isinstance(compared, str):
        compared = distances.distance(compared, weights)
    states, forward = trained.states, compared.forward
    draw = jax.jit(
        lambda states, key: space.points(bind(states, key_net), key, projection.AT_A_TIME)
    )
    mean, sigma = projection.centre(lambda key: draw(states, key), key_points)
    maps = space.maps(bind(states, key_net))
    run = projection.projector(
        lambda both, point, maps: space.generate(bind(both[0], key_net), point, maps),
        lambda both, a, b: forward(both[1], a, b),
        steps,
        lr,
    )

    def found(image):
        target = to_float(image[None])
        weights = states, compared.variables
        for here in run(weights, target, mean, sigma, maps, key, every or steps):
            if not math.isfinite(here.distance):
                raise UserError(f"lr {lr:g} is too high: the search has diverged; use a lower one")
            yield here

    return found
