"""Gated PixelCNN and PixelCNN++ on digits: `python -m jaxgen.experiments.pixelcnn`."""

import dataclasses
from typing import Annotated, Literal

from jaxgen.commands.arguments import Arguments
from jaxgen.commands.flags import Count, Range, Rate, ShareBelowOne, Size, size_text
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError


@dataclasses.dataclass(frozen=True)
class Args(Arguments):
    """Gated PixelCNN (van den Oord et al., 2016), https://arxiv.org/abs/1606.05328, and PixelCNN++
    (Salimans et al., 2017), https://arxiv.org/abs/1701.05517.

    The defaults suit two CPU cores; PixelCNN++'s numbers are in experiments/pixelcnn/paper.toml.
    """

    size: Size = (28, 28)
    channels: Literal[1, 3, 4] = 1
    rounds: Count = 1000
    batch_size: Count = 32
    net: Literal["gated", "plus"] = "gated"
    """Network: Gated PixelCNN, or PixelCNN++ (plus), whose pixels are grey levels."""
    pixels: Literal["binary", "levels"] = "binary"
    """Distribution of a pixel. binary: black or white, drawn anew whenever an image is seen.
    levels: 256 grey levels, by a softmax, with PixelCNN++ by a mixture of logistics."""
    labels: bool = False
    """Tell the network the images' labels."""
    width: Count = 32
    """Channels of a layer."""
    layers: Count = 10
    """Layers of Gated PixelCNN; residual layers of each part of PixelCNN++, 5 in the paper."""
    mixtures: Count = 10
    """Logistics of PixelCNN++'s mixture."""
    dropout: ShareBelowOne = 0.5
    """Share of the features that PixelCNN++ drops in training."""
    lr: Rate = 1e-3
    """Learning rate for Adam."""
    decay: Annotated[float, Range(0, 1, above=True)] = 0.999
    """Factor of the learning rate from one hundred rounds to the next; PixelCNN++ has 0.9995."""
    ema: ShareBelowOne = 0.0
    """Decay of the averaged weights, 0.9995 in PixelCNN++; 0 averages none."""

    def check(self) -> None:
        super().check()
        if self.net == "plus" and any(side % 4 for side in self.size):
            raise UserError(f"--net plus needs sides that 4 divides, not {size_text(self.size)}")
        if self.net == "gated" and self.channels > 1:
            raise UserError("--net gated knows one channel; use --net plus, or --channels 1")
        if self.channels == 4:
            raise UserError("--channels is 1 or 3 here, not 4")
        if self.net == "plus" and self.pixels == "binary":
            raise UserError("--net plus has grey levels; use --pixels levels")


def system(args: Args, info):
    import optax

    from jaxgen.models.pixelcnn import GatedPixelCNN, PixelCNNpp
    from jaxgen.systems.likelihood import pixels
    from jaxgen.systems.likelihood.pixelcnn import pixelcnn
    from jaxgen.train.optim import exponential_decay

    if args.labels and not info.label_names:
        raise UserError(f"{args.data} has no labels; leave --labels out, or name other data")
    classes = len(info.label_names) if args.labels else 0
    if args.net == "gated":
        kind = pixels.binary if args.pixels == "binary" else pixels.categorical
        outputs = 1 if args.pixels == "binary" else 256
        network = GatedPixelCNN(outputs, args.width, args.layers, classes=classes)
    else:
        kind = pixels.logistics
        network = PixelCNNpp(
            args.mixtures, info.shape[-1], args.width, args.layers, args.dropout, classes
        )
    rate = exponential_decay(args.lr, 100, args.decay)
    optimizer = optax.adam(rate, b1=0.95, b2=0.9995)
    return pixelcnn(network, info.shape, optimizer, kind, args.labels, args.ema)


if __name__ == "__main__":
    launch(system)
