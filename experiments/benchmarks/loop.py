"""The whole loop beside the bare program: `python experiments/benchmarks/loop.py [--help]`.

The bare program is the compiled round called again and again on one batch that lies on the devices.
The loop is `fit` with its run folder: data loaded, metrics checked and logged, checkpoints and
pictures made at the experiment's own intervals.  Both play the same system on synthetic images, in
turns, in one process; printed are the medians of their rounds per second and of the ratio, and the
process's peak memory.
"""

import dataclasses
import importlib
import json
import resource
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
    """Rounds per second of `fit` between its first and its last line of metrics."""
    from jaxgen.train.fit import fit
    from jaxgen.train.run import Run

    warm = -(-first // args.log_every) * args.log_every + args.log_every
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder), {}, {}) as run:
        options = {k: getattr(args, k) for k in ("log_every", "show_every", "save_every")}
        options["rounds_per_call"] = args.rounds_per_call
        fit(system, data, warm + rounds, batch_size=args.batch_size, run=run, **options)
        lines = [json.loads(x) for x in (run.folder / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["round"] >= warm]
    seconds = lines[-1]["seconds"] - lines[0]["seconds"]
    return (lines[-1]["round"] - lines[0]["round"]) / seconds


def main(
    experiment: str = "dcgan",
    rounds: int = 400,
    repeats: int = 5,
    resident: bool = True,
    flags: tuple[str, ...] = (),
):
    """Compares the loop with the bare program.

    Args:
        experiment: whose system and defaults are timed.
        rounds: timed in each repeat.
        repeats: of both, in turns.
        resident: keep the images on the devices.
        flags: of the experiment, such as --flags --width 32.
    """
    from jaxgen.commands.arguments import parse

    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    args = parse(module.Args, f"jaxgen.experiments.{experiment}", list(flags))
    args = dataclasses.replace(args, **({"critic_boost": 5} if experiment == "wgan" else {}))
    data = Synthetic((args.size, args.size, args.channels), resident)
    system = module.system(args, data)
    pairs = []
    for _ in range(repeats):
        alone = bare(system, data, args.batch_size, rounds, 1, args.rounds_per_call)
        pairs.append((alone, loop(system, data, args, rounds, 1)))
        print(f"bare {pairs[-1][0]:.1f}, loop {pairs[-1][1]:.1f} rounds/s", file=sys.stderr)
    alone, whole = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{experiment}: bare {alone:.1f}, loop {whole:.1f} rounds/s, ratio {ratio:.3f}", end="")
    print(f" (medians of {repeats}); peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    tyro.cli(main)
