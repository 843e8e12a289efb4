"""Neural style transfer: `python -m jaxgen.experiments.gatys --content A.jpg --style B.jpg`."""

import dataclasses
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import tyro

from jaxgen.commands.arguments import OnePicture
from jaxgen.commands.study import finish_picture, launch
from jaxgen.errors import UserError

Photograph = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]
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
class Args(OnePicture):
    """Image style transfer (Gatys, Ecker & Bethge, 2016), https://arxiv.org/abs/1508.06576.

    Makes a picture of what --content shows, painted as --style is. A person's own pair is best
    given a --workdir of its own. The defaults are the recipe experiments/gatys/quick.toml, sized
    for two CPU cores; the paper's numbers are in experiments/gatys/paper.toml.
    """

    rounds: int = 200
    """Steps of the optimizer."""
    log_every: int = 10
    sample_every: int = 25
    save_every: int = 100
    content: Annotated[Photograph, tyro.conf.arg(help_behavior_hint="(default: an astronaut)")] = (
        None
    )
    """What the picture shows: an image of any format that Pillow reads."""
    style: Annotated[Photograph, tyro.conf.arg(help_behavior_hint="(default: stained tissue)")] = (
        None
    )
    """How it is painted."""
    size: int = 384
    """The picture's longer side in pixels; 0 leaves the content as large as it is."""
    style_scale: float = 1.0
    """The longer side of the style image over that of the content; more makes coarser strokes."""
    content_weight: float = 5.0
    """Alpha."""
    style_weight: float = 100.0
    """Beta."""
    smooth: float = 0.15
    """Weight of the squared differences of neighbouring pixels; more is smoother."""
    start: Literal["content", "noise"] = "content"
    """The picture before the first step."""
    keep_colours: bool = False
    """Take brightness alone from the painted picture, and colours from the content."""
    features: Literal["squeezenet", "vgg19"] = "squeezenet"
    """The network that sees: Caffe's SqueezeNet 1.1, which a package ships, or the paper's."""
    weights: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The network's weights; for vgg19 the authors', vgg19-d01eb7cb.pth (548 MB)."""
    pooling: Literal["average", "max"] = "average"
    """The network's; the paper replaces max pooling, and on a CPU the average is faster, too."""
    content_layer: Annotated[
        str, tyro.conf.arg(help_behavior_hint=f"(default: {' or '.join(CONTENT.values())})")
    ] = ""
    """The layer whose features are kept."""
    style_layers: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help_behavior_hint=f"(default: {', or '.join(map(' '.join, STYLE.values()))})"
        ),
    ] = ()
    """The layers whose Gram matrices are matched."""
    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """L-BFGS with a line search, or Adam, whose steps take half the time and who needs more."""
    lr: float = 0.04
    """Adam's learning rate; pixels are from -1 to 1."""

    may_be_zero: ClassVar[tuple[str, ...]] = ("size",)

    @property
    def fingerprint(self) -> str:
        from jaxgen.data.source import digest

        return digest(*(x.tobytes() for x in images(self)))

    @property
    def content_from(self) -> str:
        return self.content_layer or CONTENT[self.features]

    @property
    def style_from(self) -> tuple[str, ...]:
        return self.style_layers or STYLE[self.features]

    def check(self) -> None:
        super().check()
        for flag in ("content_weight", "style_weight", "smooth"):
            if (value := getattr(self, flag)) < 0:
                raise UserError(f"--{flag.replace('_', '-')} is 0 or more, not {value:g}")
        if self.style_scale <= 0:
            raise UserError(f"--style-scale is more than 0, not {self.style_scale:g}")
        known = WEIGHTS[self.features]
        for flag, layers in (("content", [self.content_from]), ("style", self.style_from)):
            if unknown := [layer for layer in layers if layer not in known]:
                flag = "--content-layer" if flag == "content" else "--style-layers"
                raise UserError(
                    f"{flag}: {self.features} has {', '.join(known)}, and no {unknown[0]}"
                )


def images(args: Args):
    """Content and style, uint8 [1, H, W, 3] each, in the sizes that they are used in. UserError."""
    import numpy as np
    from PIL import Image

    from jaxgen.data.images import decode, to_pil, with_channels
    from jaxgen.data.source import package_folder

    def read(path, shipped, longest):
        if path is None:
            path = package_folder("skimage", "scikit-image", shipped) / "data" / shipped
        elif not path.exists():
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


def study(args: Args, run) -> None:
    import jax
    import jax.numpy as jnp
    import optax

    from jaxgen.data.one import One
    from jaxgen.systems.style.gatys import gatys, targets
    from jaxgen.train import devices, game
    from jaxgen.train.fit import fit

    content, style = images(args)
    trained = network(args)
    batch = One(targets(trained, content, style, args.content_from, args.style_from))
    system = gatys(
        trained,
        content.shape[1:],
        args.content_from,
        {layer: WEIGHTS[args.features][layer] for layer in args.style_from},
        alpha=args.content_weight,
        beta=args.style_weight,
        smooth=args.smooth,
        optimizer=optax.lbfgs() if args.optimizer == "lbfgs" else optax.adam(args.lr),
        start=jnp.float32(content) / 127.5 - 1 if args.start == "content" else None,
        keep_colours=args.keep_colours,
    )
    mesh = devices.make_mesh(jax.devices()[:1])
    states = fit(system, batch, args.rounds, run=run, mesh=mesh, **args.schedule)
    nets = game.look(system, game.local(states), jax.random.key(args.seed))
    example = game.to_float(batch.examples(1))
    finish_picture(args, system.show(nets, example, jax.random.key(args.seed))["picture"])


if __name__ == "__main__":
    launch(study)
