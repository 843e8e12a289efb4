"""Where a round's time goes: `python experiments/benchmarks/kernels.py realnvp pixelcnn`.

For each workload of `beside_torch` it plays rounds of both halves and prints their time and how
much of it the cores were at work, and then, of ours, the time of each kind of XLA's kernels.
"""

import gzip
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROUNDS, TIMINGS = 3, 5


def timed(half) -> tuple[float, float]:
    """The quickest timing's milliseconds of a round, and those of all threads together."""
    found = []
    for _ in range(TIMINGS):
        wall, cpu = time.perf_counter(), time.process_time()
        half.play(ROUNDS)
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(found)
    return 1e3 * wall / ROUNDS, 1e3 * cpu / ROUNDS


def kernels(half) -> dict[str, tuple[float, float]]:
    """Milliseconds a round and number a round of each kind of kernel, the longest first."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            half.play(ROUNDS)
        [path] = Path(folder).rglob("perfetto_trace.json.gz")
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    taken, number = Counter(), Counter()
    for event in events:
        name = re.sub(r"[.\d]+", "", event.get("name", ""))
        if event.get("ph") == "X" and re.fullmatch(r"[a-z_$]+", name):
            taken[name] += event["dur"] / 1e3 / ROUNDS
            number[name] += 1 / ROUNDS
    return {name: (took, number[name]) for name, took in taken.most_common()}


def main(names: list[str]) -> int:
    from jaxgen.commands.start import keep_memory

    keep_memory()  # of both halves, as in `beside_torch`
    from experiments.benchmarks.beside_torch import Args, Task
    from experiments.benchmarks.torch_nets import WORKLOADS
    from experiments.benchmarks.torch_nets.halves import Ours, Theirs, paired

    for name in names or WORKLOADS:
        task = Task(name, "float32", Args())
        workload, machine = task.workload(), task.machine()
        ours = Ours(workload)
        nets = paired(workload, ours.system, ours.states, machine)
        theirs = Theirs(workload, nets, machine, ours.minibatches)
        for half, who in ((ours, "ours"), (theirs, "torch")):
            half.play(2)
            wall, cpu = timed(half)
            print(f"{name}, {who}: {wall:.0f} ms a round, {cpu / wall:.2f} cores at work")
        for kind, (took, number) in list(kernels(ours).items())[:12]:
            print(f"  {took:7.1f} ms in {number:5.0f} of {kind}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
