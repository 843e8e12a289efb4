"""The whole loop beside the bare program: `python experiments/benchmarks/loop.py [--help]`.

The bare program is the compiled round called again and again on one batch that lies on the devices.
The loop is `fit` with its run folder: data loaded, metrics checked and logged, checkpoints and
pictures made at the experiment's own intervals. Both play the same system on synthetic images in
one process and in turns, from one line of the log to the next, so that what else a machine does
meets both alike. A stretch is the rounds after which all intervals begin anew, with a checkpoint;
printed are the medians of the stretches' rounds per second and ratios, and the process's peak
memory. The first stretch, with what it compiles, does not count.

With `--folder N` the loop, alone, reads N JPEGs of 256 pixels from a folder instead. Printed are
the images per second that the pipeline gives alone and those that the bare program takes, the share
of waiting for data that follows where the two do not slow each other, and the loop's own
`data_wait`, the share of time in which the devices had nothing to play.
"""

import dataclasses
import importlib
import json
import math
import os
import resource
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """Random images as a data set, on the devices or (`resident` None) on the host."""

    shape: tuple[int, int, int]
    on_device: bool = True
    n: int = 4096
    augment = None

    @property
    def info(self):
        from jaxgen.data.source import DataInfo, Field

        return DataInfo(self.shape, {"image": Field("image", self.shape[-1])})

    @property
    def arrays(self):
        rng = np.random.default_rng(0)
        return {"image": rng.integers(0, 256, (self.n, *self.shape), dtype=np.uint8)}

    @property
    def resident(self):
        return self.arrays if self.on_device else None

    def examples(self, n):
        return {"image": self.arrays["image"][:n]}

    def batches(self, batch_size, seed, *, process=0, processes=1, indices=False):
        return _Rows(self.arrays["image"], batch_size, indices)


class _Rows:
    def __init__(self, images, size, indices):
        self.images, self.size, self.indices, self.next = images, size, indices, 0

    def __next__(self):
        rows = (self.next * self.size + np.arange(self.size, dtype=np.int32)) % len(self.images)
        self.next += 1
        return {"index": rows} if self.indices else {"image": self.images[rows]}

    def get_state(self):
        return {"next": self.next}

    def set_state(self, state):
        self.next = state["next"]

    def close(self):
        pass


def bare(system, data, batch_size, per_call=1):
    """play(rounds) -> seconds of the compiled program alone."""
    import jax

    from jaxgen.data.source import to_program
    from jaxgen.train import devices
    from jaxgen.train.nets import init, place
    from jaxgen.train.prefetch import Prefetcher, schedule
    from jaxgen.train.program import compile_rounds

    mesh = devices.make_mesh()
    examples = lambda n: to_program(data.examples(n), data.info.fields)
    states = place(init(system, jax.random.key(0), examples), mesh)
    batches = data.batches(batch_size, 0, indices=data.on_device)
    # The second call: round 0 may have turns that most rounds have not.
    feed = Prefetcher(batches, schedule(system, per_call, 2 * per_call, per_call, ()), mesh)
    ((call, arrays, _),) = list(feed)
    program = compile_rounds(system, mesh, call.plan, fields=data.info.fields)
    numbers, key = np.arange(call.first, call.last, dtype=np.int32), jax.random.key(0)
    store = data.resident and jax.device_put(data.resident, devices.sharding(mesh))

    def play(rounds):
        nonlocal states
        start = time.perf_counter()
        for _ in range(rounds // per_call):
            states, metrics = program(states, arrays, numbers, key, store)
            jax.block_until_ready(metrics)  # as a loop that looks at every round must
        jax.block_until_ready(states)
        return time.perf_counter() - start

    play(5 * per_call)
    return play


def loop(system, data, args, stretches, play=None):
    """Arrays [stretches] of the seconds of `fit` and of `play`, which takes its turns; the rounds
    of a stretch; and the share of its time in which `fit` waited for data."""
    import jax

    from jaxgen.train.fit import fit
    from jaxgen.train.run import Run

    intervals = {k: getattr(args, k) for k in ("log_every", "sample_every", "save_every")}
    stretch = math.lcm(*intervals.values())
    taken, began = np.zeros((2, stretches)), 0.0

    def in_turns(states, round):
        nonlocal began
        jax.block_until_ready(states)
        seconds = time.perf_counter() - began
        if (i := (round - 1) // stretch - 1) >= 0:
            taken[:, i] += seconds, play(args.log_every) if play else 0.0
        began = time.perf_counter()
        return {}

    with tempfile.TemporaryDirectory() as folder, Run(Path(folder), {}, {}) as run:
        rounds, every = stretch * (stretches + 1), args.log_every
        options = intervals | {"evaluate_every": every, "rounds_per_call": args.rounds_per_call}
        fit(system, data, rounds, batch_size=args.batch_size, run=run, evaluate=in_turns, **options)
        lines = [json.loads(x) for x in (run.folder / "metrics.jsonl").read_text().splitlines()]
    waits = [line["data_wait"] for line in lines if line["round"] > stretch]
    return *taken, stretch, statistics.mean(waits)


def photographs(folder: Path, n: int, side: int = 256):
    """Writes n JPEGs as large as photographs: soft shapes under a little noise."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(n):
        shapes = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        pixels = np.asarray(shapes.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        pixels = (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:06d}.jpg", quality=90)


def pipeline(data, batch_size, seconds=5.0):
    """Images per second that the data's batches come at when nothing else runs."""
    batches, images = data.batches(batch_size, 0), 0
    next(batches)  # starts the reading threads
    start = time.perf_counter()
    while (took := time.perf_counter() - start) < seconds:
        next(batches)
        images += batch_size
    batches.close()
    return images / took


def main(
    experiment: str = "dcgan",
    stretches: int = 5,
    resident: bool = True,
    folder: int = 0,
    flags: str = "",
):
    """Compares the loop with the bare program.

    Args:
        experiment: whose system and defaults are timed.
        stretches: of rounds, from one checkpoint to the next.
        resident: keep the images on the devices.
        folder: read this many JPEGs from a temporary folder, through the whole pipeline.
        flags: of the experiment, such as --flags="--width 32".
    """
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.start import keep_memory

    keep_memory()
    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    args = parse(module.Args, f"jaxgen.experiments.{experiment}", shlex.split(flags))
    args = dataclasses.replace(args, **({"critic_boost": 5} if experiment == "wgan" else {}))
    data = Synthetic((*args.size, args.channels), resident)
    system = module.system(args, data.info)
    play = bare(system, data, args.batch_size, args.rounds_per_call)
    if folder:
        from jaxgen.data.pipeline import load

        with tempfile.TemporaryDirectory() as place:
            photographs(Path(place), folder)
            options = {"size": args.size, "channels": args.channels, "resident": "no"}
            data = load(f"folder:{place}", **options)
            given = pipeline(data, args.batch_size)
            taken = [play(args.log_every) for _ in range(stretches)]
            *_, waited = loop(system, data, args, stretches)
        images = system.minibatches(system.plan(1)) * args.batch_size * args.log_every
        wanted = images / statistics.median(taken)
        print(
            f"{experiment}: {folder} JPEGs of 256 px to {args.size[0]} px, {os.cpu_count()} cores:"
        )
        print(
            f"the pipeline alone gives {given:.0f} images/s, the bare program takes {wanted:.0f}:"
        )
        print(f"data wait {max(0.0, 1 - given / wanted):.3f} of the time; logged {waited:.3f}")
        return
    whole, alone, rounds, _ = loop(system, data, args, stretches, play)
    for a, b in zip(alone, whole, strict=True):
        print(f"bare {rounds / a:.1f}, loop {rounds / b:.1f} rounds/s", file=sys.stderr)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    medians = [rounds / statistics.median(x) for x in (alone, whole)]
    print(f"{experiment}: bare {medians[0]:.1f}, loop {medians[1]:.1f} rounds/s, ", end="")
    print(f"ratio {statistics.median(alone / whole):.3f}; ", end="")
    print(f"medians of {stretches} stretches of {rounds} rounds; peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    tyro.cli(main)
