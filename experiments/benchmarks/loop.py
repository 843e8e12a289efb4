"""The whole loop beside the bare program: `python experiments/benchmarks/loop.py [--help]`.

The bare program is the compiled round called again and again on one batch that lies on the devices.
The loop is `fit` with its run folder: data loaded, metrics checked and logged, checkpoints and
pictures made at the experiment's own intervals, the first of which (with what it compiles) is
before the clock starts.  Both play the same system on synthetic images, in
turns, in one process; printed are the medians of their rounds per second and of the ratio, and the
process's peak memory.

With `--folder N` the loop reads N JPEGs of 256 pixels from a folder instead. Printed too are the
images per second that the pipeline gives alone and those that the bare program takes, the share of
waiting for data that follows where the two do not slow each other, and the loop's own `data_wait`,
the share of time in which the devices had nothing to play.
"""

import dataclasses
import importlib
import itertools
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


def bare(system, data, batch_size, rounds, first, per_call=1):
    """Rounds per second of the compiled program alone."""
    import jax

    from jaxgen.train import devices, game
    from jaxgen.train.feed import Feed, schedule
    from jaxgen.train.program import compile_rounds

    mesh = devices.make_mesh()
    first = -(-first // per_call) * per_call  # where a call begins
    states = game.place(game.init(system, jax.random.key(0)), mesh)
    batches = data.batches(batch_size, 0, indices=data.on_device)
    feed = Feed(batches, schedule(system, first, first + per_call, per_call, ()), mesh)
    ((call, arrays, _),) = list(feed)
    program = compile_rounds(system, mesh, call.plan)
    numbers, key = np.arange(call.first, call.last, dtype=np.int32), jax.random.key(0)
    store = data.resident and jax.device_put(data.resident, devices.sharding(mesh))
    for i in range(rounds // per_call + 5):
        if i == 5:
            jax.block_until_ready(states)
            start = time.perf_counter()
        states, metrics = program(states, arrays, numbers, key, store)
        jax.block_until_ready(metrics)  # as a loop that looks at every round must
    return rounds / (time.perf_counter() - start)


def loop(system, data, args, rounds, first):
    """Rounds per second of `fit` between its first and its last line of metrics, and the share of
    that time in which it waited for data."""
    from jaxgen.train.fit import fit
    from jaxgen.train.run import Run

    unit = math.lcm(args.log_every, args.show_every, args.save_every)
    warm = -(-first // unit) * unit + args.log_every
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder), {}, {}) as run:
        options = {k: getattr(args, k) for k in ("log_every", "show_every", "save_every")}
        options["rounds_per_call"] = args.rounds_per_call
        fit(system, data, warm + rounds, batch_size=args.batch_size, run=run, **options)
        lines = [json.loads(x) for x in (run.folder / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["round"] >= warm]
    spans = [b["seconds"] - a["seconds"] for a, b in itertools.pairwise(lines)]
    waited = sum(line["data_wait"] * span for line, span in zip(lines[1:], spans, strict=True))
    return (lines[-1]["round"] - lines[0]["round"]) / sum(spans), waited / sum(spans)


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
    rounds: int = 400,
    repeats: int = 5,
    resident: bool = True,
    folder: int = 0,
    flags: str = "",
):
    """Compares the loop with the bare program.

    Args:
        experiment: whose system and defaults are timed.
        rounds: timed in each repeat.
        repeats: of both, in turns.
        resident: keep the images on the devices.
        folder: read this many JPEGs from a temporary folder, through the whole pipeline.
        flags: of the experiment, such as --flags="--width 32".
    """
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import keep_memory

    keep_memory()
    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    args = parse(module.Args, f"jaxgen.experiments.{experiment}", shlex.split(flags))
    args = dataclasses.replace(args, **({"critic_boost": 5} if experiment == "wgan" else {}))
    synthetic = Synthetic((args.size, args.size, args.channels), resident)
    system, per_call = module.system(args, synthetic), args.rounds_per_call
    with tempfile.TemporaryDirectory() as place:
        data = synthetic
        if folder:
            from jaxgen.data.pipeline import load

            photographs(Path(place), folder)
            options = {"size": args.size, "channels": args.channels, "resident": "no"}
            data = load(f"folder:{place}", **options)
        pairs = []
        for _ in range(repeats):
            alone = bare(system, synthetic, args.batch_size, rounds, 1, per_call)
            given = pipeline(data, args.batch_size) if folder else 0.0
            pairs.append((alone, *loop(system, data, args, rounds, 1), given))
            print(f"bare {alone:.1f}, loop {pairs[-1][1]:.1f} rounds/s", file=sys.stderr)
    alone, whole, waited, given = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(row[1] / row[0] for row in pairs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{experiment}: bare {alone:.1f}, loop {whole:.1f} rounds/s, ratio {ratio:.3f}", end="")
    print(f" (medians of {repeats}); peak memory {peak:.2f} GiB")
    if folder:
        taken = alone * system.minibatches(system.plan(1)) * args.batch_size
        share = max(0.0, 1 - given / taken)
        print(f"{folder} JPEGs of 256 px to {args.size} px, {os.cpu_count()} cores: the pipeline")
        print(f"alone gives {given:.0f} images/s, the bare program takes {taken:.0f}: data wait")
        print(f"{share:.3f} of the time; logged by the loop {waited:.3f}")


if __name__ == "__main__":
    tyro.cli(main)
