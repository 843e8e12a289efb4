"""DCGAN: D steps, then G on the same fakes."""

from torch import nn
from torch.nn.functional import softplus

from experiments.benchmarks.torch_nets.workload import Workload, frozen, pictures, step

LATENT = 100


class Generator(nn.Sequential):
    def __init__(self, levels: int, width: int):
        layers, inside = [], LATENT
        for level in reversed(range(levels)):
            first = level == levels - 1
            where = {"stride": 1, "padding": 0} if first else {"stride": 2, "padding": 1}
            up = nn.ConvTranspose2d(inside, width << level, 4, bias=False, **where)
            layers += [up, nn.BatchNorm2d(width << level), nn.ReLU()]
            inside = width << level
        last = nn.ConvTranspose2d(inside, 3, 4, 2, 1, bias=False)
        super().__init__(*layers, last, nn.Tanh())

    def forward(self, z):
        return super().forward(z[:, :, None, None])


class Discriminator(nn.Sequential):
    def __init__(self, levels: int, width: int):
        layers, inside = [], 3
        for level in range(levels):
            layers.append(nn.Conv2d(inside, width << level, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(width << level)] if level else []
            layers.append(nn.LeakyReLU(0.2))
            inside = width << level
        super().__init__(*layers, nn.Conv2d(inside, 1, 4, bias=False))

    def forward(self, x):
        return super().forward(x).flatten()


def play(nets, machine):
    g, d = nets["generator"], nets["discriminator"]
    adam_g, adam_d = (machine.adam(net, lr=2e-4, betas=(0.5, 0.999)) for net in (g, d))

    def one_round(minibatches, number):
        real = machine.images(minibatches[0]["image"])
        with machine.cast():
            fake = g(machine.normal(len(real), LATENT))
            loss_d = softplus(-d(real)).mean() + softplus(d(fake.detach())).mean()
        step(adam_d, loss_d)
        with machine.cast(), frozen(d):
            loss_g = softplus(-d(fake)).mean()
        step(adam_g, loss_g)
        return {"discriminator/loss": loss_d, "generator/loss": loss_g}

    return one_round


def workload(size: int = 64, width: int = 64, batch_size: int = 128) -> Workload:
    levels = size.bit_length() - 3

    def system():
        from jaxgen.models import dcgan as models
        from jaxgen.systems.gan.dcgan import dcgan

        nets = models.Generator(size, 3, width), models.Discriminator(size, width)
        return dcgan(*nets, (size, size, 3))

    def nets():
        return {
            "generator": Generator(levels, width),
            "discriminator": Discriminator(levels, width),
        }

    images = pictures(("image",), batch_size, size, size, 3)
    return Workload(batch_size, system, nets, play, images)
