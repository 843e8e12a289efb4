"""Gated PixelCNN on binarised digits, as our experiment trains it."""

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.workload import Workload, of_experiment, step


class CausalConv(nn.Conv2d):
    """Rows end with the output's own; columns lie around it, or end with it (`right`)."""

    def __init__(self, inside, outside, rows, columns, right=False):
        super().__init__(inside, outside, (rows, columns))
        sides = (columns - 1, 0) if right else (columns // 2, columns // 2)
        self.margins = (*sides, rows - 1, 0)

    def forward(self, x):
        return super().forward(F.pad(x, self.margins))


class Layer(nn.Module):
    def __init__(self, inside, width, kernel=3, first=False):
        super().__init__()
        rows, self.first = kernel // 2 + (not first), first
        self.vertical = CausalConv(inside, 2 * width, rows, kernel)
        self.horizontal = CausalConv(inside, 2 * width, 1, rows, right=True)
        self.link = nn.Conv2d(2 * width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def down(self, v):
        v = self.vertical(v)
        return gate(v), self.link(v)

    def right(self, h, link):
        out = self.out(gate(self.horizontal(h) + link))
        return out if self.first else out + h


def gate(x):
    a, b = x.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


class GatedPixelCNN(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        others = (Layer(width, width) for _ in range(layers - 1))
        self.layers = nn.ModuleList([Layer(1, width, 7, first=True), *others])
        self.head, self.logits = nn.Conv2d(width, width, 1), nn.Conv2d(width, 1, 1)

    def forward(self, x):
        v, links = F.pad(x, (0, 0, 1, -1)), []
        for layer in self.layers:
            v, link = layer.down(v)
            links.append(link)
        h = F.pad(x, (1, -1))
        for layer, link in zip(self.layers, links, strict=True):
            h = layer.right(h, link)
        return self.logits(F.relu(self.head(F.relu(h))))


def play(nets, machine, args):
    network = nets["network"]
    adam = machine.adam(network, lr=args.lr, betas=(0.95, 0.9995))
    rate = torch.optim.lr_scheduler.ExponentialLR(adam, args.decay ** (1 / 100))

    def one_round(minibatches, number):
        levels = (machine.images(minibatches[0]["image"]) + 1) / 2
        x = (machine.uniform(*levels.shape) < levels).float()
        with machine.cast():
            logits = network(2 * x - 1).float()
        loss = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        step(adam, loss)
        rate.step()
        return {"network/loss": loss}

    return one_round


def workload(**flags) -> Workload:
    from jaxgen.experiments import pixelcnn

    return of_experiment(
        pixelcnn,
        lambda args: {"network": GatedPixelCNN(args.width, args.layers)},
        play,
        **flags,
    )
