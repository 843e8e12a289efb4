"""pix2pix: a U-Net of 256 pixels and a PatchGAN; D steps, then G on the same fakes."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.functional import softplus

from experiments.benchmarks.torch_nets.workload import Workload, frozen, pictures, step


class UNet(nn.Module):
    def __init__(self, depth: int, width: int, dropout: float):
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, (inside, features) in enumerate(zip([3, *widths], widths, strict=False)):
            layers = [nn.LeakyReLU(0.2)] if level else []
            layers.append(nn.Conv2d(inside, features, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(features)] if 0 < level < depth - 1 else []
            self.down.append(nn.Sequential(*layers))
        for level in reversed(range(1, depth)):
            inside = widths[level] * (1 if level == depth - 1 else 2)
            up = nn.ConvTranspose2d(inside, widths[level - 1], 4, 2, 1, bias=False)
            layers = [nn.ReLU(), up, nn.BatchNorm2d(widths[level - 1])]
            layers += [nn.Dropout(dropout)] if 4 <= level < depth - 1 else []
            self.up.append(nn.Sequential(*layers))
        last = nn.ConvTranspose2d(2 * width, 3, 4, 2, 1)
        self.last = nn.Sequential(nn.ReLU(), last, nn.Tanh())

    def forward(self, x):
        seen = []
        for down in self.down:
            x = down(x)
            seen.append(x)
        for up, skip in zip(self.up, reversed(seen[:-1]), strict=True):
            x = torch.cat([skip, up(x)], 1)
        return self.last(x)


class PatchGAN(nn.Sequential):
    """`norm` by channels; only batch normalisation makes the convolutions' biases needless."""

    def __init__(self, channels: int, width: int, layers: int, norm=nn.BatchNorm2d):
        levels = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        inside = width
        for level in range(1, layers + 1):
            features, stride = width * min(2**level, 8), 2 if level < layers else 1
            bias = norm is not nn.BatchNorm2d
            levels.append(nn.Conv2d(inside, features, 4, stride, 1, bias=bias))
            levels += [norm(features), nn.LeakyReLU(0.2)]
            inside = features
        super().__init__(*levels, nn.Conv2d(inside, 1, 4, 1, 1))

    def forward(self, x):
        return super().forward(x)[:, 0]


def play(nets, machine):
    g, d = nets["generator"], nets["discriminator"]
    adam_g, adam_d = (machine.adam(net, lr=2e-4, betas=(0.5, 0.999)) for net in (g, d))

    def one_round(minibatches, number):
        a, b = (machine.images(minibatches[0][name]) for name in "ab")
        with machine.cast():
            fake = g(a)
            on_fake = d(torch.cat([a, fake.detach()], 1))
            on_real = d(torch.cat([a, b], 1))
            loss_d = (softplus(-on_real).mean() + softplus(on_fake).mean()) / 2
        step(adam_d, loss_d)
        with machine.cast(), frozen(d):
            fool = softplus(-d(torch.cat([a, fake], 1))).mean()
            loss_g = 100 * F.l1_loss(fake.float(), b) + fool
        step(adam_g, loss_g)
        return {"discriminator/loss": loss_d, "generator/loss": loss_g}

    return one_round


def workload(
    size: int = 256,
    width: int = 64,
    layers: int = 3,
    batch_size: int = 1,
    dropout: float = 0.5,
):
    depth = size.bit_length() - 1

    def system():
        from jaxgen.models.patchgan import PatchGAN
        from jaxgen.models.pix2pix import UNet
        from jaxgen.systems.translation.pix2pix import pix2pix

        nets = UNet(depth, 3, width, dropout=dropout), PatchGAN(width, layers)
        return pix2pix(*nets, (size, size, 3))

    def nets():
        return {
            "generator": UNet(depth, width, dropout),
            "discriminator": PatchGAN(6, width, layers),
        }

    images = pictures(("a", "b"), batch_size, size, size, 3)
    return Workload(batch_size, system, nets, play, images, {"generator": {"noise": False}})
