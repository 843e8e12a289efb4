"""WGAN-GP on CIFAR: residual networks, five steps of the critic, then one of the generator."""

import torch
import torch.nn.functional as F
from torch import nn

from experiments.benchmarks.torch_nets.workload import Workload, frozen, pictures, step

LATENT = 128


class Block(nn.Module):
    def __init__(self, inside, features, norm=nn.Identity, up=False, down=False, leads=True):
        super().__init__()
        middle = features if up or not leads else inside
        self.norm1 = norm(inside) if leads else None
        self.conv1 = nn.Conv2d(inside, middle, 3, padding=1)
        self.norm2 = norm(middle)
        self.conv2 = nn.Conv2d(middle, features, 3, padding=1)
        other = up or down or inside != features
        self.shortcut = nn.Conv2d(inside, features, 1) if other else nn.Identity()
        self.up = (lambda x: F.interpolate(x, scale_factor=2.0)) if up else (lambda x: x)
        self.down = (lambda x: F.avg_pool2d(x, 2)) if down else (lambda x: x)

    def forward(self, x):
        y = F.relu(self.norm1(x)) if self.norm1 is not None else x
        y = self.conv1(self.up(y))
        y = self.down(self.conv2(F.relu(self.norm2(y))))
        return y + self.up(self.shortcut(self.down(x)))  # a 1x1 convolution at the smaller size


class Generator(nn.Module):
    def __init__(self, doublings, dim):
        super().__init__()
        self.dense = nn.Linear(LATENT, 4 * 4 * dim)
        blocks = [Block(dim, dim, nn.BatchNorm2d, up=True) for _ in range(doublings)]
        self.blocks = nn.Sequential(*blocks, nn.BatchNorm2d(dim), nn.ReLU())
        self.last = nn.Conv2d(dim, 3, 3, padding=1)

    def forward(self, z):
        x = self.dense(z).view(len(z), 4, 4, -1).permute(0, 3, 1, 2)
        return torch.tanh(self.last(self.blocks(x)))


class Critic(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.blocks = nn.Sequential(
            Block(3, dim, down=True, leads=False),
            Block(dim, dim, down=True),
            Block(dim, dim),
            Block(dim, dim),
        )
        self.dense = nn.Linear(dim, 1)

    def forward(self, x):
        return self.dense(F.relu(self.blocks(x)).mean((2, 3)))[:, 0]


def play(nets, machine):
    g, critic = nets["generator"], nets["critic"]
    adam_g, adam_c = (machine.adam(net, lr=2e-4, betas=(0.0, 0.9)) for net in (g, critic))

    def one_round(minibatches, number):
        total = 0.0
        for batch in minibatches:
            real = machine.images(batch["image"])
            with machine.cast():
                with torch.no_grad():
                    fake = g(machine.normal(len(real), LATENT))
                far = critic(fake).mean() - critic(real).mean()
                share = machine.uniform(len(real), 1, 1, 1)
                line = (real + share * (fake.float() - real)).requires_grad_()
                # forward(), as compiled modules cannot be differentiated twice
                scores = critic.forward(line).float().sum()
                (slope,) = torch.autograd.grad(scores, line, create_graph=True)
                slopes = slope.float().square().sum((1, 2, 3)).sqrt()
                loss_c = far + 10 * (slopes - 1).square().mean()
            step(adam_c, loss_c)
            total = total + loss_c.detach()
        with machine.cast(), frozen(critic):
            loss_g = -critic(g(machine.normal(len(real), LATENT))).mean()
        step(adam_g, loss_g)
        return {"critic/loss": total / len(minibatches), "generator/loss": loss_g}

    return one_round


def workload(size: int = 32, width: int = 128, batch_size: int = 64, critic_steps: int = 5):
    def system():
        import optax

        from jaxgen.models import wgan_gp as models
        from jaxgen.systems.gan.wgan_gp import wgan_gp

        nets = models.CifarGenerator(size, 3, width), models.CifarCritic(width)
        adams = (optax.adam(2e-4, b1=0.0, b2=0.9) for _ in nets)
        return wgan_gp(*nets, (size, size, 3), *adams, critic_steps=critic_steps)

    def nets():
        return {"generator": Generator(size.bit_length() - 3, width), "critic": Critic(width)}

    images = pictures(("image",), batch_size, size, size, 3)
    return Workload(batch_size, system, nets, play, images)
