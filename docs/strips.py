"""Draws the strips of docs/data.md: `python docs/strips.py [NAME ...]`, from the repository's root.

Each is docs/sets/NAME.png: examples from all over the set; of a clip every second frame, of voxels
a view, of a flow its direction as hue.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgen.data.pipeline import load
from jaxgen.data.specs import SHIPPED
from jaxgen.pictures import as_uint8
from jaxgen.solids import views

SIDE, COUNT = 64, 12


def hue(flow: np.ndarray) -> np.ndarray:
    """Direction as hue, length as saturation; black where the flow is not known."""
    length, angle = np.hypot(*np.moveaxis(flow, -1, 0)), np.arctan2(flow[..., 1], flow[..., 0])
    parts = (angle / (2 * np.pi) % 1, length / max(np.nanmax(length), 1), np.isfinite(length))
    hsv = np.nan_to_num(np.stack(np.broadcast_arrays(*parts), axis=-1))
    return np.asarray(Image.fromarray(np.uint8(255 * hsv), "HSV").convert("RGB"))


def pictures(name: str) -> list[np.ndarray]:
    """COUNT pictures of the set, uint8 [SIDE, SIDE, 3]."""
    data = load(name, size=SIDE, resident="no")
    batch = data.examples(1 if len(data) == 1 else COUNT)
    if "voxels" in batch:
        seen = as_uint8(views(2.0 * (batch["voxels"][..., 0] > 0) - 1, side=SIDE))
        return list(np.repeat(seen, 3, axis=-1))
    if "flow" in batch and "a" in batch:
        return [batch["a"][0], batch["b"][0], hue(batch["flow"][0])]
    if "video" in batch and "flow" in batch:
        shown = zip(batch["video"][:3], batch["flow"][:3], strict=True)
        return [x for video, flow in shown for x in (*video[:5:2], hue(flow[0]))]
    if "video" in batch:
        return [frame for video in batch["video"][:3] for frame in video[::2]]
    if "a" in batch:
        return [x[k] for k in range(COUNT // 2) for x in (batch["a"], batch["b"])]
    if name == "faces-edits":
        batch = data.of_split("test").examples(COUNT // 2)
        return [x[k] for k in range(COUNT // 2) for x in (batch["image"], batch["edited"])]
    return list(batch["image"])


def main() -> None:
    for name in sys.argv[1:] or SHIPPED:
        strip = np.concatenate(pictures(name), axis=1)
        folder = Path("docs/sets")
        folder.mkdir(exist_ok=True)
        Image.fromarray(strip).quantize(128).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
