"""CycleGAN: both generators step, then both discriminators on images from their pools."""

import random

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.pix2pix import PatchGAN
from experiments.benchmarks.torch_nets.workload import Workload, frozen, pictures, step


class Block(nn.Sequential):
    def __init__(self, width):
        layers = []
        for last in (nn.ReLU(), nn.Identity()):
            conv = nn.Conv2d(width, width, 3)
            layers += [nn.ReflectionPad2d(1), conv, nn.InstanceNorm2d(width), last]
        super().__init__(*layers)

    def forward(self, x):
        return x + super().forward(x)


class Generator(nn.Sequential):
    def __init__(self, width: int, blocks: int):
        norm = lambda channels: [nn.InstanceNorm2d(channels), nn.ReLU()]
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), *norm(width)]
        for inside in (width, 2 * width):
            layers += [nn.Conv2d(inside, 2 * inside, 3, 2, 1), *norm(2 * inside)]
        layers += [Block(4 * width) for _ in range(blocks)]
        for inside in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(inside, inside // 2, 3, 2, 1, output_padding=1)
            layers += [up, *norm(inside // 2)]
        last = nn.Conv2d(width, 3, 7)
        super().__init__(*layers, nn.ReflectionPad2d(3), last, nn.Tanh())


class Pool:
    """Gives some new images back, and older ones in the place of others."""

    def __init__(self, size: int):
        self.size, self.kept = size, []

    def __call__(self, images):
        given = []
        for image in images.detach().unbind():
            if len(self.kept) < self.size:
                self.kept.append(image)
            elif random.random() < 0.5:
                place = random.randrange(self.size)
                image, self.kept[place] = self.kept[place], image
            given.append(image)
        y = torch.stack(given)
        return y.contiguous(memory_format=torch.channels_last) if _last(images) else y


def _last(x):
    return x.is_contiguous(memory_format=torch.channels_last)


def least_squares(scores, target):
    return (scores.float() - target).square().mean()


def play(nets, machine):
    g, f, d_a, d_b = (nets[name] for name in ("g", "f", "d_a", "d_b"))
    adam_g = machine.adam(g, f, lr=2e-4, betas=(0.5, 0.999))
    adam_d = machine.adam(d_a, d_b, lr=2e-4, betas=(0.5, 0.999))
    pool_a, pool_b = Pool(50), Pool(50)

    def one_round(minibatches, number):
        a, b = (machine.images(minibatches[0][name]) for name in "ab")
        with machine.cast(), frozen(d_a, d_b):
            fake_b, fake_a = g(a), f(b)
            fooling = least_squares(d_b(fake_b), 1) + least_squares(d_a(fake_a), 1)
            cycled = F.l1_loss(f(fake_b).float(), a) + F.l1_loss(g(fake_a).float(), b)
            loss_g = fooling + 10 * cycled
        step(adam_g, loss_g)
        with machine.cast():
            tell_a = least_squares(d_a(a), 1) + least_squares(d_a(pool_a(fake_a)), 0)
            tell_b = least_squares(d_b(b), 1) + least_squares(d_b(pool_b(fake_b)), 0)
            loss_d = (tell_a + tell_b) / 2
        step(adam_d, loss_d)
        return {"g+f/loss": loss_g, "d_a+d_b/loss": loss_d}

    return one_round


def workload(
    size: int = 256,
    width: int = 64,
    blocks: int = 9,
    layers: int = 3,
    batch_size: int = 1,
):
    def system():
        from jaxgen.models.cyclegan import Generator
        from jaxgen.models.patchgan import PatchGAN
        from jaxgen.systems.translation.cyclegan import cyclegan

        nets = Generator(3, width, blocks), PatchGAN(width, layers, "instance")
        return cyclegan(*nets, (size, size, 3), batch_size, identity=0.0)

    def nets():
        def judge():
            return PatchGAN(3, width, layers, nn.InstanceNorm2d)

        generators = {name: Generator(width, blocks) for name in "gf"}
        return {**generators, "d_a": judge(), "d_b": judge()}

    return Workload(batch_size, system, nets, play, pictures(("a", "b"), batch_size, size, size, 3))
