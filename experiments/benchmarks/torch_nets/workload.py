"""What is played twice: a `Workload`; and how torch plays its half: a `Machine`."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch

from jaxgen.data.source import DataInfo, Field


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where and how the networks of torch run; what they draw at random comes from here."""

    device: str = "cpu"
    bfloat16: bool = False
    channels_last: bool = True

    @property
    def layout(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def images(self, x: torch.Tensor) -> torch.Tensor:
        """uint8 [b, H, W, C], or float32 in [-1, 1], to float32 [b, C, H, W] in [-1, 1]."""
        x = x.permute(0, 3, 1, 2)
        x = x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x
        return x if self.channels_last else x.contiguous()

    def cast(self):
        """Where networks are called: bfloat16 by autocast, if that is asked for."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.bfloat16)

    def adam(self, *nets, **options) -> torch.optim.Optimizer:
        weights = [w for net in nets for w in net.parameters()]
        return torch.optim.Adam(weights, fused=True, **options)

    def normal(self, *shape: int) -> torch.Tensor:
        """N(0, 1)."""
        return torch.randn(shape, device=self.device)

    def uniform(self, *shape: int) -> torch.Tensor:
        """U(0, 1)."""
        return torch.rand(shape, device=self.device)


def step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


@contextlib.contextmanager
def frozen(*nets: torch.nn.Module):
    """In which these networks' weights get no gradients."""
    for net in nets:
        net.requires_grad_(False)
    yield
    for net in nets:
        net.requires_grad_(True)


Nets = dict[str, torch.nn.Module]
Round = Callable[[list[dict[str, torch.Tensor]], int], dict[str, torch.Tensor]]


@dataclasses.dataclass(frozen=True)
class Workload:
    """One system and its counterpart in torch.

    system: our half, () -> System.
    nets: the other half's networks, by our players' names. They call their layers in the order in
      which ours do, which is how the weights are paired.
    play: (nets, machine) -> a round of plain training, (minibatches, the round's number) -> losses
      under our names for them, "turn/loss".
    minibatch: random data, {name: [batch_size, ...]}.
    quiet: options of our networks that take the randomness out of a call, by player; in torch it is
      in modules that do nothing when they are evaluated.
    parts: what torch.compile compiles, where that is not whole networks.
    """

    batch_size: int
    system: Callable[[], Any]
    nets: Callable[[], Nets]
    play: Callable[[Nets, Machine], Round]
    minibatch: Callable[[np.random.Generator], dict[str, np.ndarray]]
    quiet: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    parts: Callable[[Nets], Iterable[torch.nn.Module]] = dict.values


def of_experiment(experiment, nets, play, **flags) -> Workload:
    """The workload of a module of `jaxgen.experiments` on images: its defaults, but for `flags`.

    nets, play: of a `Workload`, with the experiment's arguments, the last of several.
    """
    args = experiment.Args(**flags)
    shape = (*args.size, args.channels)
    info = DataInfo(shape, {"image": Field("image")})
    return Workload(
        args.batch_size,
        lambda: experiment.system(args, info),
        lambda: nets(args),
        lambda nets, machine: play(nets, machine, args),
        pictures(("image",), args.batch_size, *shape),
    )


def pictures(names: tuple[str, ...], *shape: int):
    """The `minibatch` of random images [B, H, W, C] under these names."""
    return lambda rng: {name: rng.integers(0, 256, shape, dtype=np.uint8) for name in names}
