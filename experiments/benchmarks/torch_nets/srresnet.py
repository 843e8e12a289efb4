"""SRResNet: SRGAN's generator, fourfold, by the mean square error."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.workload import Workload, pictures, step


class Block(nn.Sequential):
    def __init__(self, width):
        conv = lambda: nn.Conv2d(width, width, 3, padding=1)
        norm = lambda: nn.BatchNorm2d(width)
        super().__init__(conv(), norm(), nn.PReLU(), conv(), norm())

    def forward(self, x):
        return x + super().forward(x)


class Generator(nn.Module):
    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        conv = nn.Conv2d(width, width, 3, padding=1)
        self.body = nn.Sequential(
            *(Block(width) for _ in range(blocks)), conv, nn.BatchNorm2d(width)
        )
        double = lambda: [
            nn.Conv2d(width, 4 * width, 3, padding=1),
            nn.PixelShuffle(2),
            nn.PReLU(),
        ]
        last = nn.Conv2d(width, 3, 9, padding=4)
        self.enlarge = nn.Sequential(*double(), *double(), last)

    def forward(self, x):
        x = self.stem(x)
        return self.enlarge(x + self.body(x))


def play(nets, machine, size):
    g = nets["generator"]
    adam = machine.adam(g, lr=1e-4)
    quarter = quartering(size).to(machine.device)  # [size / 4, size]

    def one_round(minibatches, number):
        true = machine.images(minibatches[0]["image"])
        small = quarter @ ((true + 1) / 2) @ quarter.T
        small = (small.clip(0, 1) * 255).round() / 255
        if machine.channels_last:
            small = small.contiguous(memory_format=torch.channels_last)
        with machine.cast():
            loss = F.mse_loss(g(small).float(), true)
        step(adam, loss)
        return {"generator/loss": loss}

    return one_round


def quartering(size: int) -> torch.Tensor:
    """The matrix of MATLAB's bicubic resizing, from that of an image of one white row."""
    from jaxgen.nn.resample import matlab_bicubic

    rows = np.eye(size, dtype=np.float32)[:, :, None, None]
    return torch.tensor(np.asarray(matlab_bicubic(rows, 1 / 4))[:, :, 0, 0].T.copy())


def workload(size: int = 96, width: int = 64, blocks: int = 16, batch_size: int = 16):
    def system():
        import optax

        from jaxgen.models.srgan import Generator
        from jaxgen.systems.restoration.srgan import srresnet

        return srresnet(Generator(3, width, blocks), (size, size, 3), optax.adam(1e-4))

    return Workload(
        batch_size,
        system,
        lambda: {"generator": Generator(width, blocks)},
        lambda nets, machine: play(nets, machine, size),
        pictures(("image",), batch_size, size, size, 3),
    )
