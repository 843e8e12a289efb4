"""The systems that are timed beside PyTorch, and how to add one.

A module here holds one paper's networks in torch, one `play` that trains them as its code does,
and a function `workload(...)` that puts them beside ours; its defaults are the paper's size.  An
entry of `WORKLOADS` gives a size and a tiny one, which the tests and `--tiny` play.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from experiments.benchmarks.torch_nets import (
    clip,
    cyclegan,
    dcgan,
    ebm,
    pix2pix,
    pixelcnn,
    realnvp,
    srresnet,
    stylegan2,
    vae,
    wgan_gp,
)
from experiments.benchmarks.torch_nets.workload import Workload


class Sizes(NamedTuple):
    full: Callable[..., Workload]
    tiny: Callable[..., Workload]


_dcgan = partial(dcgan.workload, size=16, width=4, batch_size=8)
_wgan_gp = partial(wgan_gp.workload, size=8, width=4, batch_size=4, critic_steps=2)
_vae = partial(vae.workload, size=8, units=16, latent=4, batch_size=10)
_pix2pix = partial(pix2pix.workload, size=64, width=2, layers=1, batch_size=2)
_cyclegan = partial(cyclegan.workload, size=32, width=4, blocks=2, layers=1)
_srresnet = partial(srresnet.workload, size=16, width=4, blocks=2, batch_size=2)
_towers = {"width": 16, "layers": 2, "embedding": 8, "vocabulary": 50, "context": 6}
_clip = partial(clip.workload, size=16, batch_size=4, **_towers)
_stylegan2 = partial(stylegan2.workload, size=16, base=128, most=16, depth=2, batch_size=4)
_pixelcnn = partial(pixelcnn.workload, size=8, width=4, layers=3, batch_size=4)
_realnvp = partial(realnvp.workload, size=8, width=4, blocks=1, batch_size=4)
_ebm = partial(ebm.workload, size=8, width=4, steps=3, buffer=40, batch_size=20)

WORKLOADS = {
    "dcgan-64": Sizes(dcgan.workload, _dcgan),
    "wgan_gp": Sizes(wgan_gp.workload, _wgan_gp),
    "vae": Sizes(vae.workload, _vae),
    "pixelcnn": Sizes(pixelcnn.workload, _pixelcnn),
    "realnvp": Sizes(realnvp.workload, _realnvp),
    "ebm": Sizes(ebm.workload, _ebm),
    "pix2pix-256": Sizes(pix2pix.workload, _pix2pix),
    "pix2pix-256-b16": Sizes(partial(pix2pix.workload, batch_size=16), _pix2pix),
    "cyclegan-256": Sizes(cyclegan.workload, _cyclegan),
    "cyclegan-256-b4": Sizes(
        partial(cyclegan.workload, batch_size=4), partial(_cyclegan, batch_size=2)
    ),
    "srresnet": Sizes(srresnet.workload, _srresnet),
    "clip-small": Sizes(clip.workload, _clip),
    "stylegan2-64": Sizes(partial(stylegan2.workload, size=64, batch_size=32), _stylegan2),
    "stylegan2-256": Sizes(stylegan2.workload, _stylegan2),
}
