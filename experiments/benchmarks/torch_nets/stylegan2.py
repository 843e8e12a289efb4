"""StyleGAN2 (configuration F): each example's kernels in a grouped convolution, as in the authors'
code, without its CUDA extensions: the filters are depthwise convolutions.

A round is a step of G and one of D on its batch; every 4th has a step on the path lengths of half
the batch, every 16th one on the slope of D (R1).
"""

import copy
import math
import random

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.workload import Workload, frozen, pictures, step

LR, GAMMA, R1_EVERY, PATH_EVERY = 2e-3, 10.0, 16, 4
EMA, MIXING = 0.999, 0.9


def leaky(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def blur(channels: int, gain: float, like: torch.Tensor) -> torch.Tensor:
    """The binomial filter of each channel [channels, 1, 4, 4], with that sum."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=like.device)
    taps = taps.outer(taps) * (gain / 64)
    return taps.to(like.dtype).expand(channels, 1, 4, 4)


def filtered(x, gain=1.0, pad=0, stride=1):
    c = x.shape[1]
    return F.conv2d(x, blur(c, gain, x), stride=stride, padding=pad, groups=c)


def doubled(x):
    c = x.shape[1]
    return F.conv_transpose2d(x, blur(c, 4.0, x), stride=2, padding=1, groups=c)


class Dense(nn.Module):
    """With equalised learning rate."""

    def __init__(self, inside, outside, bias=0.0, multiplier=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside) / multiplier)
        self.bias = nn.Parameter(torch.full((outside,), bias))
        self.gain, self.multiplier = multiplier / math.sqrt(inside), multiplier

    def forward(self, x):
        return F.linear(x, self.weight * self.gain, self.bias * self.multiplier)


class Conv(nn.Module):
    """With equalised learning rate."""

    def __init__(self, inside, outside, window, padding=0, stride=1, bias=True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outside, inside, window, window))
        self.bias = nn.Parameter(torch.zeros(outside)) if bias else None
        self.gain = 1 / math.sqrt(inside * window**2)
        self.padding, self.stride = padding, stride

    def forward(self, x):
        return F.conv2d(x, self.weight * self.gain, self.bias, self.stride, self.padding)


class Mapping(nn.Module):
    def __init__(self, latent, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(
            Dense(width if i else latent, width, multiplier=0.01) for i in range(depth)
        )
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, z, track=True):
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            x = leaky(layer(x))
        if track:
            with torch.no_grad():
                self.mean.lerp_(x.float().mean(0), 0.005)
        return x


class Noise(nn.Module):
    """One map an image, when it is trained."""

    def forward(self, x, strength):
        if not self.training:
            return x
        return x + strength * torch.randn(len(x), 1, *x.shape[2:], device=x.device)


class Styled(nn.Module):
    def __init__(self, inside, outside, style, up=False):
        super().__init__()
        self.affine = Dense(style, inside, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outside, inside, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outside))
        self.noise, self.flipped = Noise(), up

    def forward(self, x, w):
        x = modulated(x, self.weight, self.affine(w), up=self.flipped)
        x = self.noise(x, self.noise_strength)
        return leaky(x + self.bias.to(x.dtype)[:, None, None])


class Colours(nn.Module):
    def __init__(self, inside, style):
        super().__init__()
        self.affine = Dense(style, inside, bias=1.0)
        self.weight = nn.Parameter(torch.randn(3, inside, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x, w):
        x = modulated(x, self.weight, self.affine(w), demodulate=False)
        return x + self.bias.to(x.dtype)[:, None, None]


def modulated(x, weight, style, demodulate=True, up=False):
    """Each example by a kernel of its own: a group an example."""
    n, inside, *space = x.shape
    weight = weight * (1 / math.sqrt(weight[0].numel()))
    weight = weight[None] * style[:, None, :, None, None]  # [n, out, in, k, k]
    if demodulate:
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    outside, window = weight.shape[1], weight.shape[-1]
    x = x.reshape(1, n * inside, *space)
    if up:
        weight = weight.transpose(1, 2).reshape(n * inside, outside, window, window)
        y = F.conv_transpose2d(x, weight, stride=2, groups=n)
        return filtered(y.view(n, outside, *y.shape[2:]), gain=4.0, pad=1)
    weight = weight.reshape(n * outside, inside, window, window)
    y = F.conv2d(x, weight, padding=window // 2, groups=n)
    return y.view(n, outside, *space)


class Synthesis(nn.Module):
    def __init__(self, widths, style):
        super().__init__()
        self.const = nn.Parameter(torch.randn(widths[0], 4, 4))
        self.convs, self.colours = nn.ModuleList(), nn.ModuleList()
        for inside, width in zip([None, *widths], widths, strict=False):
            first = [Styled(inside, width, style, up=True)] if inside else []
            self.convs.append(nn.ModuleList([*first, Styled(width, width, style)]))
            self.colours.append(Colours(width, style))

    def forward(self, ws):
        x, image = self.const.expand(len(ws), -1, -1, -1), None
        for level, (convs, colours) in enumerate(zip(self.convs, self.colours, strict=True)):
            for conv, layer in zip(
                convs, range(2 * level + 1 - len(convs), 2 * level + 1), strict=True
            ):
                x = conv(x, ws[:, layer])
            y = colours(x, ws[:, 2 * level + 1])
            image = y if image is None else doubled(image) + y
        return image


class Generator(nn.Module):
    def __init__(self, widths, latent, style, depth):
        super().__init__()
        self.layers = 2 * len(widths)
        self.mapping, self.synthesis = Mapping(latent, style, depth), Synthesis(widths, style)

    def forward(self, z):
        return self.synthesis(self.styles(z))

    def styles(self, z, other=None, at=0):
        """A style a layer; from layer `at` on those of the latents `other`."""
        ws = self.mapping(z)[:, None].expand(-1, self.layers, -1)
        if other is None or at == self.layers:
            return ws
        return torch.cat([ws[:, :at], self.mapping(other, False)[:, None].expand_as(ws)[:, at:]], 1)


class Block(nn.Module):
    def __init__(self, inside, outside):
        super().__init__()
        self.conv0 = Conv(inside, inside, 3, padding=1)
        self.conv1 = Conv(inside, outside, 3, stride=2)
        self.skip = Conv(inside, outside, 1, bias=False)

    def forward(self, x):
        y = leaky(self.conv0(x))
        y = leaky(self.conv1(filtered(y, pad=2)))
        return (y + self.skip(filtered(x, pad=1, stride=2))) * math.sqrt(0.5)


class Discriminator(nn.Module):
    def __init__(self, widths, group=4):
        super().__init__()
        self.group, narrowing = group, reversed(range(1, len(widths)))
        self.fromrgb = Conv(3, widths[-1], 1)
        self.blocks = nn.ModuleList(Block(widths[i], widths[i - 1]) for i in narrowing)
        self.conv = Conv(widths[0] + 1, widths[0], 3, padding=1)
        self.fc = Conv(widths[0], widths[0], 4)
        self.out = Dense(widths[0], 1)

    def forward(self, x):
        x = leaky(self.fromrgb(x))
        for block in self.blocks:
            x = block(x)
        size = next(n for n in range(self.group, 0, -1) if len(x) % n == 0)
        y = x.float().reshape(size, len(x) // size, *x.shape[1:])
        spread = ((y - y.mean(0)).square().mean(0) + 1e-8).sqrt().mean((1, 2, 3))
        spread = spread.repeat(size)[:, None, None, None].expand(-1, -1, 4, 4)
        x = leaky(self.conv(torch.cat([x, spread.to(x.dtype)], 1)))
        return self.out(leaky(self.fc(x)).flatten(1))[:, 0]


def lazy_adam(machine, net, every):
    c = every / (every + 1)
    return machine.adam(net, lr=LR * c, betas=(0.0, 0.99**c))


def play(nets, machine, latent, mixing):
    g, d = nets["generator"], nets["discriminator"]
    averaged = copy.deepcopy(g)
    adam_g, adam_d = lazy_adam(machine, g, PATH_EVERY), lazy_adam(machine, d, R1_EVERY)
    length = torch.zeros((), device=machine.device)

    def styles(n):
        if random.random() >= mixing:
            return g.styles(machine.normal(n, latent))
        z, other = machine.normal(n, latent), machine.normal(n, latent)
        return g.styles(z, other, random.randrange(1, g.layers))

    def one_round(minibatches, number):
        nonlocal length
        real = machine.images(minibatches[0]["image"])
        losses = {}
        with machine.cast(), frozen(d):
            loss = F.softplus(-d(g.synthesis(styles(len(real)))).float()).mean()
        step(adam_g, loss)
        losses["generator/loss"] = loss.detach()
        if number % PATH_EVERY == 0:
            with machine.cast():
                ws = styles(max(len(real) // 2, 1))
                # forward(), as compiled modules cannot be differentiated twice
                made = g.synthesis.forward(ws).float()
                pixels = made.shape[2] * made.shape[3]
                y = machine.normal(*made.shape) / math.sqrt(pixels)
                (slope,) = torch.autograd.grad((made * y).sum(), ws, create_graph=True)
                lengths = slope.float().square().sum(2).mean(1).sqrt()
                mean = length.lerp(lengths.mean(), 0.01)
                loss = PATH_EVERY * 2 * (lengths - mean).square().mean()
            step(adam_g, loss)
            length = mean.detach()
            losses["path/loss"] = loss.detach()
        with machine.cast():
            with torch.no_grad():
                fake = g.synthesis(styles(len(real)))
            on_real, on_fake = d(real).float(), d(fake).float()
            loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        step(adam_d, loss)
        losses["discriminator/loss"] = loss.detach()
        if number % R1_EVERY == 0:
            with machine.cast():
                x = real.detach().requires_grad_()
                (slope,) = torch.autograd.grad(d.forward(x).float().sum(), x, create_graph=True)
                loss = R1_EVERY * GAMMA / 2 * slope.float().square().sum((1, 2, 3)).mean()
            step(adam_d, loss)
            losses["r1/loss"] = loss.detach()
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(g.parameters()), 1 - EMA)
        return losses

    return one_round


def workload(
    size: int = 256,
    base: int = 32768,
    most: int = 512,
    depth: int = 8,
    batch_size: int = 16,
    mixing: float = MIXING,
):
    """`base` and `most`: channels are base / pixels, at most `most`, as are latents and styles."""
    widths = [min(base // (4 << i), most) for i in range(size.bit_length() - 2)]

    def system():
        from jaxgen.models import stylegan2 as models
        from jaxgen.systems.gan.stylegan2 import stylegan2

        generator = models.Generator(tuple(widths), style=most, depth=depth)
        discriminator = models.Discriminator(tuple(widths))
        options = {"lr": LR, "gamma": GAMMA, "mixing": mixing, "ema": EMA}
        return stylegan2(generator, discriminator, (size, size, 3), most, **options)

    def nets():
        return {
            "generator": Generator(widths, most, most, depth),
            "discriminator": Discriminator(widths),
        }

    return Workload(
        batch_size,
        system,
        nets,
        lambda nets, machine: play(nets, machine, most, mixing),
        pictures(("image",), batch_size, size, size, 3),
        {"generator": {"noise": "off"}},
        lambda nets: [*nets["generator"].children(), nets["discriminator"]],
    )
