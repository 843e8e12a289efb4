"""Tar shards and parquet files of small images, whose pixels say their number."""

import io
import json
import tarfile

import numpy as np
from PIL import Image


def png(array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, np.uint8)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def numbered(k, side=8) -> bytes:
    """A grey image: k // 256 in its upper half, k % 256 in the lower."""
    image = np.full((side, side), k // 256, np.uint8)
    image[side // 2 :] = k % 256
    return png(image)


def number(images):
    """The numbers k of images [..., side, side, C]."""
    return images[..., 0, 0, 0].astype(int) * 256 + images[..., -1, 0, 0]


def write_shard(path, samples):
    """samples: {key: {suffix: bytes, text or JSON}}, or an iterable of such pairs."""
    with tarfile.open(path, "w") as tar:
        for key, parts in samples.items() if isinstance(samples, dict) else samples:
            for suffix, content in parts.items():
                if not isinstance(content, str | bytes):
                    content = json.dumps(content)
                data = content.encode() if isinstance(content, str) else content
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path
