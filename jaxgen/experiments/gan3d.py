"""3D-GAN on things made of voxels: `python -m jaxgen.experiments.gan3d`."""

import dataclasses
from typing import ClassVar

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Rate, Share, ShareBelowOne, Spec
from jaxgen.commands.launch import launch


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """3D-GAN (Wu et al., 2016), https://arxiv.org/abs/1610.07584.

    The defaults suit two CPU cores, and are the paper's rate for the generator, with a
    discriminator that learns faster than the paper's, as the training is shorter, and is never
    stopped. With a generator that learns ten times more slowly all is grey at first, and shapes
    that appear later get thinner.
    The paper's numbers are in experiments/gan3d/paper.toml. Voxels of your own are in a folder:
    `--data folder:DIR` with .npz, .npy or .binvox files.
    """

    data: Spec = "shapes3d"
    rounds: Count = 2000
    rounds_per_call: Count = 10
    sample_every: Count = 200
    save_every: Count = 200
    batch_size: Count = 32
    width: Count = 16
    """Channels of the generator's last hidden level and of the discriminator's first; the paper's
    is 64."""
    lr: Rate = 2.5e-3
    """Adam's learning rate, of the generator."""
    discriminator_lr: Rate = 2e-4
    """Learning rate of the discriminator, 1e-5 in the paper."""
    most_accuracy: Share = 1.0
    """Accuracy on the last minibatch above which the discriminator stays as it is, 0.8 in the
    paper; 1 never stops it."""
    ema: ShareBelowOne = 0.0
    """Decay of the generator's averaged weights; 0 averages none, as in the paper."""

    needs: ClassVar[tuple[str, ...]] = ("voxels",)


def system(args: Args, info):
    from jaxgen.models.gan3d import Discriminator, Generator
    from jaxgen.systems.gan.gan3d import gan3d

    side = info.shape[0]
    return gan3d(
        Generator(side, args.width),
        Discriminator(side, args.width),
        info.shape,
        args.lr,
        args.discriminator_lr,
        args.most_accuracy,
        args.ema,
    )


if __name__ == "__main__":
    launch(system)
