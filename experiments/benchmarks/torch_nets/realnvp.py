"""RealNVP on digits, as our experiment trains it: checkerboard and channel couplings."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.workload import Workload, of_experiment

EPSILON, SHARE = 1e-4, 0.9  # of batch normalisation; of [0, 1] that pixels take


class Conv(nn.Module):
    """A convolution whose kernels have norm 1, or a learned `magnitude`."""

    def __init__(self, inside, outside, window, magnitude=False, bias=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside, window, window))
        self.magnitude = nn.Parameter(torch.ones(outside)) if magnitude else None
        self.bias = nn.Parameter(torch.zeros(outside)) if magnitude or bias else None

    def forward(self, x):
        size = self.weight.square().sum((1, 2, 3)).rsqrt()
        size = size if self.magnitude is None else size * self.magnitude
        return F.conv2d(x, self.weight * size[:, None, None, None], self.bias, padding="same")


class Norm(nn.BatchNorm2d):
    """Batch normalisation with a bias and no gain."""

    def __init__(self, channels):
        super().__init__(channels, EPSILON, affine=False)
        self.bias = nn.Parameter(torch.zeros(channels))


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inside = nn.Sequential(Norm(width), nn.ReLU(), Conv(width, width, 3))
        self.outside = nn.Sequential(Norm(width), nn.ReLU(), Conv(width, width, 3, True))
        self.skip = Conv(width, width, 1, True)

    def forward(self, x):
        x = x + self.outside(self.inside(x))
        return x, self.skip(x)


class ResNet(nn.Module):
    def __init__(self, inside, width, outside, blocks):
        super().__init__()
        self.first = Conv(inside, width, 3, bias=True)
        self.skip = Conv(width, width, 1, True)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.last = nn.Sequential(Norm(width), nn.ReLU(), Conv(width, outside, 1, True))

    def forward(self, x):
        x = self.first(x)
        y = self.skip(x)
        for block in self.blocks:
            x, skip = block(x)
            y = y + skip
        return self.last(y)


class Coupling(nn.Module):
    """What stays, `kept`, says how x is moved, scaled and normalised."""

    def __init__(self, inside, channels, width, blocks, start):
        super().__init__()
        self.norm = Norm(channels)
        self.resnet = ResNet(inside, width, 2 * channels, blocks)
        self.scale = nn.Parameter(torch.tensor(start))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def moved(self, numbers, x, changes):
        shift, log_scale = self.resnet(F.relu(numbers)).float().chunk(2, 1)
        log_scale = self.scale * torch.tanh(log_scale) * changes
        y = (x + shift * changes) * log_scale.exp()
        var, mean = torch.var_mean(y * changes, (0, 2, 3), correction=0)
        with torch.no_grad():
            self.mean.lerp_(mean, 0.1)
            self.var.lerp_(var, 0.1)
        log_spread = 0.5 * (var + EPSILON).log()[:, None, None] * changes
        y = (y - mean[:, None, None] * changes) * torch.exp(-log_spread)
        return y, (log_scale - log_spread).sum((1, 2, 3))


class Checkerboard(Coupling):
    def __init__(self, channels, width, blocks, odd):
        super().__init__(2 * channels + 1, channels, width, blocks, 0.0)
        self.odd = odd

    def forward(self, x):
        rows, columns = (torch.arange(n, device=x.device) for n in x.shape[2:])
        changes = ((rows[:, None] + columns) % 2 == self.odd).float()
        seen = 2 * self.norm(x * (1 - changes))
        there = (1 - changes).expand(len(x), 1, -1, -1)
        return self.moved(torch.cat([seen, -seen, there], 1), x, changes)


class Channels(Coupling):
    def __init__(self, channels, width, blocks, second):
        super().__init__(channels, channels // 2, width, blocks, 1.0)
        self.second = second

    def forward(self, x):
        a, b = x.chunk(2, 1)
        kept, x = (a, b) if self.second else (b, a)
        seen = self.norm(kept)
        y, change = self.moved(torch.cat([seen, -seen], 1), x, 1.0)
        return torch.cat([kept, y] if self.second else [y, kept], 1), change


class Scale(nn.Module):
    """Couplings at one resolution; then half of the numbers goes to a coarser scale."""

    def __init__(self, channels, width, blocks, scales):
        super().__init__()
        board = lambda odd: Checkerboard(channels, width, blocks, odd)
        self.checkerboard = nn.ModuleList(map(board, (1, 0, 1, 0) if scales == 1 else (1, 0, 1)))
        self.channels, self.coarser = nn.ModuleList(), None
        if scales > 1:
            half = lambda second: Channels(4 * channels, 2 * width, blocks, second)
            self.channels.extend(map(half, (True, False, True)))
            self.coarser = Scale(2 * channels, 2 * width, blocks, scales - 1)

    def forward(self, x):
        total = 0.0
        for coupling in self.checkerboard:
            x, change = coupling(x)
            total = total + change
        if self.coarser is None:
            return x, total
        x = F.pixel_unshuffle(x, 2)
        for coupling in self.channels:
            x, change = coupling(x)
            total = total + change
        # Pixels of one checkerboard go on, together with those next to them on the diagonal.
        x = F.pixel_shuffle(x, 2)
        corners = ((0, 0), (1, 1), (0, 1), (1, 0))
        a, d, r, l = (x[:, :, dy::2, dx::2] for dy, dx in corners)  # noqa: E741
        coarse, change = self.coarser(torch.cat([a, d], 1))
        a, d = coarse.chunk(2, 1)
        x = torch.stack([a, r, l, d], 2).flatten(1, 2)
        return F.pixel_shuffle(x, 2), total + change


def play(nets, machine, args):
    flow = nets["flow"]
    adam = machine.adam(flow, lr=args.lr)
    names = dict(flow.named_parameters())
    board = lambda name: "checkerboard" in name and name.endswith("scale")
    decayed = [w for name, w in names.items() if name.endswith("magnitude") or board(name)]

    def one_round(minibatches, number):
        levels = (machine.images(minibatches[0]["image"]) + 1) / 2
        x = (levels * 255 + machine.uniform(*levels.shape)) / 256
        logits = torch.logit((1 - SHARE) / 2 + SHARE * x)
        change = (math.log(SHARE / 256) - F.logsigmoid(logits) - F.logsigmoid(-logits)).sum(
            (1, 2, 3)
        )
        with machine.cast():
            z, log_det = flow(logits)
        normal = -(z.square() + math.log(2 * math.pi)).sum((1, 2, 3)) / 2
        size = torch.cat([w.flatten() for w in decayed]).square().sum()
        loss = args.weight_decay * size - (normal + log_det + change).mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(names.values(), args.clip)
        adam.step()
        return {"flow/loss": loss}

    return one_round


def workload(**flags) -> Workload:
    from jaxgen.experiments import realnvp

    return of_experiment(
        realnvp,
        lambda args: {"flow": Scale(1, args.width, args.blocks, args.scales)},
        play,
        **flags,
    )
