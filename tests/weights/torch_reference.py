"""The perceptual networks in torch, written from their papers and files, and what they make.

`python -m tests.weights.torch_reference` (with torch) writes `samples/` anew: small networks with
random weights, saved by torch in its formats, and what torch computes with them. Full networks are
compared with these modules where torch is installed.
"""

import io
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SAMPLES = Path(__file__).parent / "samples"
FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
SMALL_FIRES = tuple((s // 8, e // 16) for s, e in FIRES)


class Fire(nn.Module):
    def __init__(self, channels, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    taps = (1, 4, 7, 9, 10, 11, 12)

    def __init__(self, stem=64, fires=FIRES, classes=1000):
        super().__init__()
        layers, channels = [nn.Conv2d(3, stem, 3, 2), nn.ReLU()], stem
        for i, (squeeze, expand) in enumerate(fires):
            if i in (0, 2, 4):
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            layers.append(Fire(channels, squeeze, expand))
            channels = 2 * expand
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, classes, 1), nn.ReLU())

    def forward(self, x):
        found = {}
        for i, layer in enumerate(self.features):
            x = layer(x)
            found[f"tap{i}"] = x
        names = ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
        taps = {name: found[f"tap{i}"] for name, i in zip(names, self.taps)}
        return {**taps, "logits": self.classifier(x).mean((2, 3))}


class Vgg(nn.Module):
    """torchvision's layout; `caffe_layout` has the dropouts where jcjohnson/pytorch-vgg has."""

    def __init__(self, depths, widths, hidden, classes, side, caffe_layout=False):
        super().__init__()
        layers, channels, self.names = [], 3, {}
        for i, (depth, width) in enumerate(zip(depths, widths), 1):
            for j in range(1, depth + 1):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                self.names[len(layers) - 1] = f"relu{i}_{j}"
                channels = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        dense = [nn.Linear(channels * side * side, hidden), nn.ReLU(), nn.Dropout()]
        dense += [nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes)]
        if caffe_layout:
            dense = [dense[i] for i in (2, 0, 1, 5, 3, 4, 6)]
        self.classifier = nn.Sequential(*dense)

    def forward(self, x):
        taps = {}
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.names:
                taps[self.names[i]] = x
        x, relus = x.flatten(1), iter(("fc6", "fc7"))
        for layer in self.classifier:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                taps[next(relus)] = x
        return {**taps, "logits": x}


class ConvNorm(nn.Module):
    def __init__(self, channels, features, window, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(channels, features, window, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(features, eps=1e-3)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


def mean_pool(x):
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class Mixed(nn.Module):
    """A block from a table: branch -> layers (name, channels in, out, window, stride)."""

    def __init__(self, *chains, pool):
        super().__init__()
        self.chains, self.pool = [], pool
        for chain in chains:
            self.chains.append([name for name, *_ in chain])
            for name, channels, features, window, stride in chain:
                size = (window, window) if isinstance(window, int) else window
                padding = tuple(k // 2 for k in size) if stride == 1 else 0
                setattr(self, name, ConvNorm(channels, features, size, stride, padding))

    def forward(self, x):
        parts = []
        for chain in self.chains:
            y = self.pool(x) if chain == ["branch_pool"] else x
            for name in chain:
                y = getattr(self, name)(y)
            parts.append(y)
        if ["branch_pool"] not in self.chains:
            parts.append(F.max_pool2d(x, 3, 2))
        return torch.cat(parts, 1)


class BlockE(nn.Module):
    def __init__(self, c, n, pool):
        super().__init__()
        self.pool = pool
        self.branch1x1 = ConvNorm(c, 320 // n, 1)
        self.branch3x3_1 = ConvNorm(c, 384 // n, 1)
        self.branch3x3_2a = ConvNorm(384 // n, 384 // n, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvNorm(384 // n, 384 // n, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = ConvNorm(c, 448 // n, 1)
        self.branch3x3dbl_2 = ConvNorm(448 // n, 384 // n, 3, padding=1)
        self.branch3x3dbl_3a = ConvNorm(384 // n, 384 // n, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvNorm(384 // n, 384 // n, (3, 1), padding=(1, 0))
        self.branch_pool = ConvNorm(c, 192 // n, 1)

    def forward(self, x):
        one, two = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        parts = [self.branch1x1(x), self.branch3x3_2a(one), self.branch3x3_2b(one)]
        parts += [self.branch3x3dbl_3a(two), self.branch3x3dbl_3b(two)]
        return torch.cat([*parts, self.branch_pool(self.pool(x))], 1)


def chain(name, channels, *layers):
    rows = []
    for i, (features, *rest) in enumerate(layers, 1):
        window, stride = (*rest, 1, 1)[:2] if len(rest) < 2 else rest
        rows.append((f"{name}_{i}", channels, features, window, stride))
        channels = features
    return rows


class Inception(nn.Module):
    def __init__(self, n=1, classes=1008):
        super().__init__()
        d = lambda k: k // n
        self.Conv2d_1a_3x3 = ConvNorm(3, d(32), 3, 2)
        self.Conv2d_2a_3x3 = ConvNorm(d(32), d(32), 3)
        self.Conv2d_2b_3x3 = ConvNorm(d(32), d(64), 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNorm(d(64), d(80), 1)
        self.Conv2d_4a_3x3 = ConvNorm(d(80), d(192), 3)
        for name, c, pooled in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
            block = Mixed(
                [("branch1x1", d(c), d(64), 1, 1)],
                chain("branch5x5", d(c), (d(48),), (d(64), 5)),
                chain("branch3x3dbl", d(c), (d(64),), (d(96), 3), (d(96), 3)),
                [("branch_pool", d(c), d(pooled), 1, 1)],
                pool=mean_pool,
            )
            setattr(self, f"Mixed_{name}", block)
        self.Mixed_6a = Mixed(
            [("branch3x3", d(288), d(384), 3, 2)],
            chain("branch3x3dbl", d(288), (d(64),), (d(96), 3), (d(96), 3, 2)),
            pool=None,
        )
        row, column = (1, 7), (7, 1)
        for name, k in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            k, c = d(k), d(768)
            twice = ((k,), (k, column), (k, row), (k, column), (d(192), row))
            block = Mixed(
                [("branch1x1", c, d(192), 1, 1)],
                chain("branch7x7", c, (k,), (k, row), (d(192), column)),
                chain("branch7x7dbl", c, *twice),
                [("branch_pool", c, d(192), 1, 1)],
                pool=mean_pool,
            )
            setattr(self, f"Mixed_{name}", block)
        k = d(192)
        self.Mixed_7a = Mixed(
            chain("branch3x3", d(768), (k,), (d(320), 3, 2)),
            chain("branch7x7x3", d(768), (k,), (k, row), (k, column), (k, 3, 2)),
            pool=None,
        )
        self.Mixed_7b = BlockE(d(1280), n, mean_pool)
        self.Mixed_7c = BlockE(d(2048), n, lambda x: F.max_pool2d(x, 3, 1, 1))
        self.fc = nn.Linear(d(2048), classes)

    def forward(self, x):
        taps = {}
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = taps["pool1"] = F.max_pool2d(x, 3, 2)
        x = taps["pool2"] = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e"):
            x = getattr(self, f"Mixed_{name}")(x)
        taps["mixed_6e"] = x
        x = taps["pool3"] = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x))).mean((2, 3))
        logits = self.fc(x)
        return {**taps, "logits": logits, "logits_unbiased": logits - self.fc.bias}


def small_squeezenet():
    return SqueezeNet(8, SMALL_FIRES, 10)


def small_vgg(caffe_layout=False):
    return Vgg((2, 2, 3, 3, 3), (4, 6, 8, 10, 12), 16, 5, 2, caffe_layout)


def small_inception():
    return Inception(16, 11)


def shapes(network) -> dict:
    state = network.state_dict()
    return {k: list(v.shape) for k, v in state.items() if "num_batches" not in k}


def filled(network, seed: int):
    """The network with the weights of `recipe.weights`, ready for use."""
    from tests.weights.recipe import weights

    state = {k: torch.from_numpy(v) for k, v in weights(shapes(network), seed).items()}
    network.load_state_dict(state, strict=False)
    return network.eval()


@torch.no_grad()
def compute(network, images: np.ndarray) -> dict[str, np.ndarray]:
    """Taps of prepared images [b, h, w, c], channels last."""
    found = network(torch.from_numpy(images).permute(0, 3, 1, 2))
    return {k: (v.permute(0, 2, 3, 1) if v.ndim == 4 else v).numpy() for k, v in found.items()}


def main():
    from tests.weights.recipe import SIZES, images

    SAMPLES.mkdir(exist_ok=True)
    makers = {"squeezenet": small_squeezenet, "vgg": small_vgg, "inception": small_inception}
    for seed, (name, make) in enumerate(makers.items()):
        network = filled(make(), seed)
        found = compute(network, images(SIZES[name]))
        # whole maps of the deep layers, the middle row of the large ones
        found = {k: v if v.size < 3000 else v[:, v.shape[1] // 2] for k, v in found.items()}
        np.savez_compressed(SAMPLES / f"{name}.npz", **found)
        (SAMPLES / f"{name}.json").write_text(json.dumps(shapes(network)) + "\n")
    network = filled(small_squeezenet(), 0)
    state = network.state_dict()
    torch.save(state, SAMPLES / "squeezenet.pth")
    torch.save(state, SAMPLES / "squeezenet_legacy.pth", _use_new_zipfile_serialization=False)
    # a checkpoint as trainers save them: views, several kinds of numbers, things beside the tensors
    whole = torch.arange(12.0).reshape(3, 4)
    parts = {"module.whole": whole, "module.turned": whole.T, "module.part": whole[1:, ::2]}
    parts["module.half"] = torch.tensor([0.5, -2.0], dtype=torch.float16)
    parts["module.brain"] = torch.tensor([0.5, -2.0], dtype=torch.bfloat16)
    parts["module.count"] = nn.Parameter(torch.tensor(7), requires_grad=False)
    checkpoint = {"epoch": 3, "state_dict": parts, "note": ("a", None, 1.5)}
    torch.save(checkpoint, SAMPLES / "checkpoint.pth")
    tiny = nn.Sequential()
    tiny.add_module("conv", nn.Conv2d(1, 2, 3))
    tiny.add_module("norm", nn.BatchNorm2d(2))
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(filled(tiny, 0)), script)
    (SAMPLES / "script.pt").write_bytes(script.getvalue())


if __name__ == "__main__":
    main()
