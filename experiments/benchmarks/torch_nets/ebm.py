"""The energy-based model of digits, as our experiment trains it: Langevin dynamics from the ends of
earlier chains, then a step on the energies of data and of the new ends."""

import contextlib

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.workload import Workload, frozen, of_experiment, step

NOISE, RESTART = 0.005, 0.05


class Spectral(nn.Module):
    """A layer's kernel over its largest singular value, of which each call in training makes a
    step of power iteration."""

    fixed = None

    def kernel(self):
        if self.fixed is not None:
            return self.fixed
        w = self.weight.movedim(1, -1).flatten(1)
        with torch.no_grad():
            v = F.normalize(w.T @ self.u, dim=0)
            u = F.normalize(w @ v, dim=0)
            if self.training:
                self.u.copy_(u)
        return self.weight / (u @ (w @ v))


class Conv(Spectral, nn.Conv2d):
    """A side of n pixels becomes n / stride, rounded up."""

    def __init__(self, inside, outside, window, stride=1):
        super().__init__(inside, outside, window, stride, padding=1, bias=False)
        self.register_buffer("u", torch.randn(outside))

    def forward(self, x):
        odd = self.stride[0] - 1 and x.shape[-1] % 2
        return self._conv_forward(F.pad(x, (0, 1, 0, 1)) if odd else x, self.kernel(), None)


class Dense(Spectral, nn.Linear):
    def __init__(self, inside, outside):
        super().__init__(inside, outside)
        self.register_buffer("u", torch.randn(outside))

    def forward(self, x):
        return F.linear(x, self.kernel(), self.bias)


class DigitNet(nn.Module):
    """Images in [0, 1] to energies."""

    def __init__(self, size, width):
        super().__init__()
        downs = (Conv(max(n // 2, 1) * width, n * width, 4, 2) for n in (1, 2, 4))
        self.convs = nn.ModuleList([Conv(1, width, 3), *downs])
        self.dense = Dense((-(-size // 8)) ** 2 * 4 * width, 2 * width)
        self.last = nn.Linear(2 * width, 1)

    def forward(self, x):
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
        x = x.permute(0, 2, 3, 1).flatten(1)
        return self.last(F.leaky_relu(self.dense(x), 0.2))[:, 0]


@contextlib.contextmanager
def standing(net):
    """In which the net's kernels are computed once, and its weights get no gradients."""
    layers = [layer for layer in net.modules() if isinstance(layer, Spectral)]
    net.eval()
    with torch.no_grad():
        for layer in layers:
            layer.fixed = layer.kernel()
    with frozen(net):
        yield
    for layer in layers:
        layer.fixed = None
    net.train()


class Chains:
    """Ends of earlier chains, as bytes; each position of the batch has its own."""

    def __init__(self, size, n, shape, device):
        self.kept = torch.zeros(n, -(-size // n), *shape, dtype=torch.uint8, device=device)
        self.rows, self.count = torch.arange(n, device=device), 0

    def starts(self, fresh, machine):
        n, filled = len(fresh), min(self.count, self.kept.shape[1])
        if not filled:
            return fresh
        pick = (machine.uniform(n) * filled).long()
        old = (self.kept[self.rows, pick] + machine.uniform(*fresh.shape)) / 256
        again = machine.uniform(n) < RESTART
        return torch.where(again[:, None, None, None], fresh, old)

    def keep(self, images):
        self.kept[:, self.count % self.kept.shape[1]] = (images * 256).clamp(0, 255).byte()
        self.count += 1


def play(nets, machine, args):
    energy = nets["energy"]
    adam = machine.adam(energy, lr=args.lr, betas=(0.0, 0.999))
    rate = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, args.rounds)
    shape = (args.channels, *args.size)
    chains = Chains(args.buffer, args.batch_size, shape, machine.device)

    def walk(x):
        with standing(energy):
            for _ in range(args.steps):
                x = (x + NOISE * machine.normal(*x.shape)).requires_grad_()
                with machine.cast():
                    total = energy(x).float().sum()
                (slope,) = torch.autograd.grad(total, x)
                downhill = slope.clamp(-args.largest, args.largest)
                x = (x.detach() - args.step_size * downhill).clamp(0, 1)
        return x

    def one_round(minibatches, number):
        levels = (machine.images(minibatches[0]["image"]) + 1) / 2
        real = (levels * 255 + machine.uniform(*levels.shape)) / 256
        fake = walk(chains.starts(machine.uniform(*real.shape), machine))
        chains.keep(fake)
        with machine.cast():
            low, high = energy(real).float(), energy(fake).float()
        squares = low.square().mean() + high.square().mean()
        loss = low.mean() - high.mean() + args.alpha * squares
        step(adam, loss)
        rate.step()
        return {"energy/loss": loss}

    return one_round


def workload(**flags) -> Workload:
    from jaxgen.experiments import ebm

    return of_experiment(
        ebm, lambda args: {"energy": DigitNet(args.size[0], args.width)}, play, **flags
    )
