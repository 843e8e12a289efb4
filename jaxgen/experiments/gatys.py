"""Neural style transfer: `python -m jaxgen.experiments.gatys --content A.jpg --style B.jpg`."""

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from jaxgen.commands.arguments import Basic
from jaxgen.commands.flags import Count, CountOrZero, File, Rate, Weight
from jaxgen.commands.launch import launch
from jaxgen.errors import UserError

LEAST = 32  # pixels a side, which both networks' last pools need

# w_l of Eq. 5. SqueezeNet's make its layers count alike: 1,250 over E_l between two photographs,
# in the geometric mean. VGG-19's are those of neural-style, as are alpha and beta.
WEIGHTS = {
    "squeezenet": {
        **{"conv1": 1e-2, "fire3": 1.5e-3, "fire5": 2.5e-3, "fire6": 1.5e-3},
        **{"fire7": 1.5e-2, "fire8": 2e-2, "fire9": 1.5},
    },
    "vgg19": {
        f"relu{i}_{j}": 4 / width**2
        for i, (depth, width) in enumerate(((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)), 1)
        for j in range(1, depth + 1)
    },
}
CONTENT = {"squeezenet": "fire8", "vgg19": "relu4_2"}
STYLE = {
    "squeezenet": ("conv1", "fire3", "fire5", "fire7"),
    "vgg19": ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
}


@dataclasses.dataclass(frozen=True)
class Args(Basic):
    """Image style transfer (Gatys, Ecker & Bethge, 2016), https://arxiv.org/abs/1508.06576.

    A picture that shows --content, painted like --style; a pair of one's own is best given a
    --workdir of its own. The defaults suit two CPU cores; the paper's numbers are in
    experiments/gatys/paper.toml.
    """

    rounds: Count = 200
    """Steps of the optimizer."""
    log_every: Count = 10
    sample_every: Count = 25
    save_every: Count = 100
    content: Annotated[File, tyro.conf.arg(help_behavior_hint="(default: an astronaut)")] = None
    """Photograph that the picture shows: an image of any format that Pillow reads."""
    style: Annotated[File, tyro.conf.arg(help_behavior_hint="(default: stained tissue)")] = None
    """Painting whose style it has."""
    size: CountOrZero = 384
    """Longer side of the picture in pixels; 0 leaves the content as large as it is."""
    style_scale: Rate = 1.0
    """Longer side of the style image over that of the content; more makes coarser strokes."""
    content_weight: Weight = 5.0
    """Weight of the content, alpha."""
    style_weight: Weight = 100.0
    """Weight of the style, beta."""
    smooth: Weight = 0.15
    """Weight of the squared differences of neighbouring pixels; more is smoother."""
    start: Literal["content", "noise"] = "content"
    """The picture before the first step."""
    keep_colours: bool = False
    """Take brightness alone from the painted picture, and colours from the content."""
    features: Literal["squeezenet", "vgg19"] = "squeezenet"
    """Network of the features: Caffe's SqueezeNet 1.1, which a package ships, or the paper's."""
    weights: File = None
    """File of the network's weights; for vgg19 the authors', vgg19-d01eb7cb.pth (548 MB)."""
    pooling: Literal["average", "max"] = "average"
    """Pooling of the network; the paper replaces max pooling, and on a CPU the average is faster,
    too."""
    content_layer: Annotated[
        str, tyro.conf.arg(help_behavior_hint=f"(default: {' or '.join(CONTENT.values())})")
    ] = ""
    """Layer whose features are kept."""
    style_layers: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help_behavior_hint=f"(default: {', or '.join(map(' '.join, STYLE.values()))})"
        ),
    ] = ()
    """Layers whose Gram matrices are matched."""
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """L-BFGS with a line search, or Adam, with steps that take half the time and are worth less."""
    lr: Rate = 0.04
    """Adam's learning rate; pixels are from -1 to 1."""

    batch_size: ClassVar[int] = 1
    one_device: ClassVar[bool] = True
    places: ClassVar[frozenset[str]] = frozenset({"content", "style"})

    @property
    def content_from(self) -> str:
        return self.content_layer or CONTENT[self.features]

    @property
    def style_from(self) -> tuple[str, ...]:
        return self.style_layers or STYLE[self.features]

    def check(self) -> None:
        known = WEIGHTS[self.features]
        for flag, layers in (("content", [self.content_from]), ("style", self.style_from)):
            if unknown := [layer for layer in layers if layer not in known]:
                flag = "--content-layer" if flag == "content" else "--style-layers"
                raise UserError(
                    f"{flag}: {self.features} has {', '.join(known)}, and no {unknown[0]}"
                )

    def load_data(self, split: str = "train", **_):
        """The one example: both images and what a picture is painted after."""
        from jaxgen.commands.start import start_jax
        from jaxgen.data.one import One
        from jaxgen.data.source import Field, digest
        from jaxgen.systems.style.gatys import example

        images = content_and_style(self)
        start_jax()
        arrays = example(network(self), *images, self.content_from, self.style_from)
        kinds = {"image": "image", "painting": "image", "content": "array", "style": "array"}
        fields = {name: Field(kind) for name, kind in kinds.items()}
        return One(arrays, fields, digest(*(image.tobytes() for image in images)))

    def finish(self, run) -> dict[str, Path]:
        """Writes picture.png, the finished picture."""
        from jaxgen.data.source import to_float
        from jaxgen.pictures import grid, save_png

        path = (self.workdir or Path()) / "picture.png"
        batch = {"image": to_float(content_and_style(self)[0])}
        save_png(path, grid(run.system.show(run.nets(), batch, None)["picture"]))
        return {"picture": path}


def content_and_style(args: Args):
    """Content and style, uint8 [1, H, W, 3] each, in the sizes that they are used in. UserError."""
    import numpy as np
    from PIL import Image

    from jaxgen.data.images import decode, to_pil, with_channels
    from jaxgen.data.source import package_folder

    def read(given, shipped, longest):
        path = given or package_folder("skimage", "scikit-image", shipped) / "data" / shipped
        if not path.exists():
            raise UserError(f"{path}: there is no such file")
        image = with_channels(to_pil(decode(path)), 3)
        if longest:
            scale = longest / max(image.size)
            size = [max(1, round(side * scale)) for side in image.size]
            image = image.resize(size, Image.Resampling.LANCZOS)
        if min(image.size) < LEAST:
            raise UserError(
                f"{path} would be {image.width} x {image.height} pixels, and {LEAST} a side are "
                "the least; make --size larger, or crop it"
            )
        return np.asarray(image)[None]

    content = read(args.content, "astronaut.png", args.size)
    longest = round(args.style_scale * max(content.shape))
    return content, read(args.style, "ihc.png", longest)


def network(args: Args):
    """The network that sees, with its weights. UserError where they are missing."""
    from jaxgen.models.squeezenet import SqueezeNet
    from jaxgen.models.vgg import vgg19
    from jaxgen.weights import squeezenet, vgg

    average = args.pooling == "average"
    if args.features == "squeezenet":
        return dataclasses.replace(
            squeezenet.caffe(args.weights), module=SqueezeNet(average=average)
        )
    trained = vgg.caffe19(args.weights, vgg19(average=average))
    if trained.sha256.startswith(vgg.VGG19[0].sha256):
        raise UserError(
            f"{args.weights} is torchvision's VGG-19, whose features are of another scale; get the "
            f"authors' from {vgg.CAFFE19[0].address}"
        )
    return trained


def system(args: Args, info):
    import optax

    from jaxgen.data.source import to_float
    from jaxgen.models.squeezenet import SqueezeNet
    from jaxgen.models.vgg import vgg19
    from jaxgen.nn import imagenet
    from jaxgen.systems.style.gatys import gatys

    average = args.pooling == "average"
    return gatys(
        SqueezeNet(average=average) if args.features == "squeezenet" else vgg19(average=average),
        imagenet.caffe,
        lambda: network(args).variables,
        info.shape,
        args.content_from,
        {layer: WEIGHTS[args.features][layer] for layer in args.style_from},
        alpha=args.content_weight,
        beta=args.style_weight,
        smooth=args.smooth,
        optimizer=optax.lbfgs() if args.optimizer == "lbfgs" else optax.adam(args.lr),
        steps=args.rounds,
        start=(lambda: to_float(content_and_style(args)[0])) if args.start == "content" else None,
        keep_colours=args.keep_colours,
    )


if __name__ == "__main__":
    launch(system)
