"""A toy experiment from image to image: a -> b of its own size, and a -> b of twice the size."""

import dataclasses
from typing import ClassVar

from jaxgen.commands.arguments import Arguments


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """A single gain, which should learn to be 1."""

    needs: ClassVar[tuple[str, ...]] = ("a", "b")
    any_size: bool = True


def system(args, info):
    import flax.linen as nn
    import optax

    from jaxgen.train.abilities import Translator
    from jaxgen.train.game import Player, System, Turn

    class Gain(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * self.param("gain", nn.initializers.ones, ())

    def twice(x):
        return x.repeat(2, axis=1).repeat(2, axis=2)

    def loss(nets, batch, key):
        return abs(nets.g(batch["a"]) - batch["b"]).mean(), {}

    def pair(batch):
        return {"image": batch["a"]}, batch["b"]

    def larger(batch):
        return {"image": batch["a"]}, twice(batch["b"])

    return System(
        players={"g": Player(Gain(), [(1, 4, 4, 3)], optax.sgd(1e-6))},
        turns=(Turn(("g",), loss),),
        show=lambda nets, batch, key: {"translated": nets.g(batch["a"])},
        abilities=(
            Translator(
                lambda nets, inputs, key: nets.g(inputs["image"]),
                pair,
                name="a-to-b",
                multiple=4,
                any_size=args.any_size,
                reach=0,
            ),
            Translator(
                lambda nets, inputs, key: twice(nets.g(inputs["image"])),
                larger,
                name="double",
                scale=2,
            ),
        ),
    )
