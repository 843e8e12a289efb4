"""A toy experiment from image to image: a -> b of its own size, and a -> b of twice the size."""

import dataclasses
from typing import ClassVar

from jaxgen.commands.arguments import Arguments


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """A single gain, which should learn to be 1."""

    needs: ClassVar[tuple[str, ...]] = ("a", "b")
    any_size: bool = True


def system(args, data):
    import flax.linen as nn
    import optax

    from jaxgen.train.game import Apply, Player, System, Turn

    class Gain(nn.Module):
        @nn.compact
        def __call__(self, x):
            return x * self.param("gain", nn.initializers.ones, ())

    def loss(nets, batch, key):
        return abs(nets.g(batch["a"]) - batch["b"]).mean(), {}

    def double(nets, x, key):
        return nets.g(x).repeat(2, axis=1).repeat(2, axis=2)

    def twice(batch):
        return batch["a"], batch["b"].repeat(2, axis=1).repeat(2, axis=2)

    def error(nets, batch, key):
        return ((nets.g(batch["a"]) - batch["b"]) ** 2).mean((1, 2, 3))

    return System(
        players={"g": Player(Gain(), [(1, 4, 4, 3)], optax.sgd(1e-6))},
        turns=(Turn(("g",), loss),),
        show=lambda nets, batch, key: {"made": nets.g(batch["a"])},
        apply={
            "a-to-b": Apply(
                lambda nets, x, key: nets.g(x),
                lambda batch: (batch["a"], batch["b"]),
                multiple=4,
                any_size=args.any_size,
            ),
            "double": Apply(double, twice, scale=2),
        },
        measures={"error": error},
    )
