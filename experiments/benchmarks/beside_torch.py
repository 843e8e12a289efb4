"""Our training beside PyTorch's: `python experiments/benchmarks/beside_torch.py [--help]`.

Each workload is a system of `jaxgen` at its paper's size and the same networks, batch and order of
play in plain PyTorch (`torch_nets/`). First our weights are copied over and both must answer alike;
what differs is refused. Then both play rounds in turns. Each workload runs in a process of its own.
"""

import copy
import dataclasses
import datetime
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import tyro

RESULTS = Path(__file__).parent / "results"
HEADER = """# Beside PyTorch

One row a workload, the latest run of each: milliseconds of one round of training, medians of runs
in turns. Ratio: PyTorch's time over ours; above 1 we are faster. Before it was timed each pair of
networks had the same weights and gave the same outputs, to 1e-4 of the largest one, and the same
gradients with respect to their inputs, to a tenth of the norm, as they jump where ReLUs switch
(float32, batch statistics as in training, dropout and noise off).

- Both: one device, the same batch of 8-bit images lying on it, the same optimizers and order of
  play; nothing waits for the device between rounds. Ours computes its metrics as well.
- Where some turns are played every few rounds only (StyleGAN2), rounds with and without them are
  timed apart and added up by how often they come.
- Ours: the program of `compile_rounds`, `per call` rounds a call; bfloat16 is what the experiments'
  `--precision bfloat16` does.
- PyTorch: eager, fused Adam, no gradients for weights that do not learn in a turn, samples made
  once where two turns use them; channels last where its gradients are right so. GPU:
  `cudnn.benchmark`; float32 has TF32 matrix products and convolutions, JAX's default there;
  bfloat16 by autocast. CPU: float32, a thread a core, and both halves in a process that keeps what
  it frees (`keep_memory`), which makes PyTorch faster, too. `compiled` is torch.compile of the
  networks in its default mode; what is differentiated twice stays eager.
- Memory: on a GPU the most that each one's allocator held. On a CPU how much a process grows that
  plays this half only, compilation included.
- Floor: the larger of FLOPs / measured FLOP/s (a large matrix product) and bytes / measured bytes/s
  (a large copy). FLOPs are those of our products and convolutions as written (XLA's count before
  2026-12-01), so that what two turns share counts twice, such as DCGAN's fakes; bytes are XLA's
  count of our compiled round. What is shared or stays in caches can make a round faster than that.

"""


@dataclasses.dataclass(frozen=True)
class Args:
    """Times our training beside PyTorch's and writes beside_torch.jsonl and beside_torch.md."""

    workloads: tuple[str, ...] = ()
    """Workloads that are timed; all by default."""
    precision: tuple[Literal["float32", "bfloat16"], ...] = ("float32",)
    """One or both; bfloat16 is for a GPU."""
    compile: bool = False
    """Time torch.compile, too."""
    rounds: int = 0
    """Rounds of one timing, of each kind where there are several; by default as many as the slower
    half plays in --seconds."""
    seconds: float = 5.0
    """Seconds of one timing, about."""
    repeats: int = 5
    """Pairs of timings."""
    rounds_per_call: int = 1
    """Rounds that one program of ours plays."""
    batch_size: int = 0
    """By default each workload's own; StyleGAN2's 16 and 32 are too many for a CPU."""
    channels_last: bool = True
    """PyTorch's layout of images, unless the check fails with it and passes without."""
    memory: bool = True
    """Measure the peak memory on a CPU, in a process for each half."""
    tiny: bool = False
    """Toy sizes, to try the command; the times mean nothing."""
    out: Path = RESULTS
    """The folder of the results."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What a process is asked to do."""

    name: str
    precision: str
    args: Args

    def workload(self):
        from experiments.benchmarks.torch_nets import WORKLOADS

        sizes = WORKLOADS[self.name]
        given = {"batch_size": self.args.batch_size} if self.args.batch_size else {}
        return (sizes.tiny if self.args.tiny else sizes.full)(**given)

    def machine(self):
        """How torch runs."""
        import torch

        from experiments.benchmarks.torch_nets.workload import Machine

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return Machine(device, self.precision == "bfloat16", self.args.channels_last)


def measure(task: Task) -> dict[str, Any]:
    """A row of the table. Mismatch where the halves are not the same."""
    from jaxgen.commands.start import keep_memory

    keep_memory()  # of both halves
    import jax
    import numpy as np
    import torch

    from experiments.benchmarks.torch_nets.halves import Ours, Theirs, paired
    from experiments.benchmarks.torch_nets.weights import Mismatch

    args, workload, machine = task.args, task.workload(), task.machine()
    ours = Ours(workload, task.precision, args.rounds_per_call)
    try:
        nets = [paired(workload, ours.system, ours.states, machine)]
    except Mismatch:
        if not machine.channels_last:
            raise
        machine = dataclasses.replace(machine, channels_last=False)
        nets = [paired(workload, ours.system, ours.states, machine)]
    if args.compile:
        nets.append(copy.deepcopy(nets[0]))
    halves: dict[str, Any] = {"ours": ours}
    failed = {}
    for name, net in zip(("torch", "compiled"), nets, strict=False):
        compiles = name == "compiled"
        halves[name] = Theirs(workload, net, machine, ours.minibatches, compile=compiles)
    unit = args.rounds_per_call
    for name, half in list(halves.items()):  # compiles
        try:
            for number in ours.kinds:
                half.play(unit, number)
        except Exception as error:
            if name != "compiled":
                raise
            failed = {"compile_error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
            del halves[name]
    rounds, times = {}, {name: np.zeros(args.repeats) for name in halves}
    for number, count in ours.kinds.items():
        first = {name: clock(half, unit, number) for name, half in halves.items()}
        wanted = args.rounds or args.seconds / max(first["ours"], first["torch"]) * unit
        rounds[number] = max(1, round(wanted / unit)) * unit
        for repeat in range(args.repeats):
            for name, half in halves.items():
                taken = clock(half, rounds[number], number) / rounds[number]
                times[name][repeat] += taken * count / ours.period
    taken = {name: statistics.median(found) for name, found in times.items()}
    peak = {}
    if machine.device == "cuda":
        stats = jax.devices()[0].memory_stats()
        peak = {"ours": stats["peak_bytes_in_use"], "torch": torch.cuda.max_memory_allocated()}
    flops, moved = ours.cost()
    flops_rate, bytes_rate = limits(task.precision, machine.device)
    floor = max(flops / flops_rate, moved / bytes_rate)
    return {
        "workload": task.name + (" (tiny)" if args.tiny else ""),
        "batch": workload.batch_size,
        "precision": task.precision,
        "hardware": hardware(),
        "date": datetime.date.today().isoformat(),
        "versions": {"jax": jax.__version__, "torch": torch.__version__},
        "rounds": sum(rounds.values()),
        "repeats": args.repeats,
        "rounds_per_call": args.rounds_per_call,
        "channels_last": machine.channels_last,
        **{f"{name}_ms": 1e3 * seconds for name, seconds in taken.items()},
        "all_ms": {name: (1e3 * found).tolist() for name, found in times.items()},
        **failed,
        "images_per_second": len(ours.minibatches) * workload.batch_size / taken["ours"],
        "ratio": taken["torch"] / taken["ours"],
        "peak_bytes": peak,
        "compile_seconds": ours.compile_seconds,
        "flops": flops,
        "bytes": moved,
        "flops_per_second": flops_rate,
        "bytes_per_second": bytes_rate,
        "floor_ms": 1e3 * floor,
        "share_of_floor": floor / taken["ours"],
    }


def clock(half, rounds: int, number: int) -> float:
    start = time.perf_counter()
    half.play(rounds, number)
    return time.perf_counter() - start


def limits(precision: str, device: str) -> tuple[float, float]:
    """What the machine reaches: FLOP/s of a large matrix product, bytes/s of a large copy."""
    import jax
    import jax.numpy as jnp

    n, numbers = (8192, 2**28) if device == "cuda" else (3072, 2**26)

    def best(f, x):
        f = jax.jit(f)
        jax.block_until_ready(f(x))
        times = []
        for _ in range(5):
            start = time.perf_counter()
            jax.block_until_ready(f(x))
            times.append(time.perf_counter() - start)
        return min(times)

    product = best(lambda x: x @ x, jnp.ones((n, n), precision))
    moving = best(lambda x: x + 1, jnp.ones(numbers, jnp.float32))
    return 2 * n**3 / product, 2 * 4 * numbers / moving


def growth(task: Task, side: str) -> int:
    """Bytes by which the process grows, at most, when it plays one half."""
    import resource

    from jaxgen.commands.start import keep_memory

    if side == "ours":
        keep_memory()

    import jax

    from experiments.benchmarks.torch_nets.halves import Ours, Theirs, data

    workload, machine = task.workload(), task.machine()
    jax.block_until_ready(jax.numpy.zeros(()) + 1)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = peak()
    if side == "ours":
        half = Ours(workload, task.precision, task.args.rounds_per_call)
        for number in half.kinds:
            half.play(task.args.rounds_per_call, number)
    else:
        minibatches = data(workload, workload.system())
        half = Theirs(workload, workload.nets(), machine, minibatches)
        half.play(2)
    return peak() - before


def hardware() -> str:
    """The GPU, or the CPU and how many of its cores are ours."""
    import jax

    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    known = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", known.read_text()) if known.is_file() else []
    return f"{(names or [platform.processor() or 'CPU'])[0]}, {len(os.sched_getaffinity(0))} cores"


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown of the latest row of each machine, workload, batch and precision."""
    place = lambda x: tuple(x[k] for k in ("hardware", "workload", "batch", "precision"))
    rows = sorted({place(x): x for x in lines}.values(), key=place)
    columns = {
        "workload": lambda x: x["workload"],
        "batch": lambda x: str(x["batch"]),
        "precision": lambda x: x["precision"],
        "ours, ms": lambda x: f"{x['ours_ms']:.4g}",
        "torch, ms": lambda x: f"{x['torch_ms']:.4g}",
        "compiled, ms": lambda x: f"{x['compiled_ms']:.4g}" if "compiled_ms" in x else "",
        "ratio": lambda x: f"{x['ratio']:.2f}",
        "images/s": lambda x: f"{x['images_per_second']:.4g}",
        "per call": lambda x: str(x["rounds_per_call"]),
        "torch's layout": lambda x: "channels last" if x["channels_last"] else "channels first",
        "ours, GiB": lambda x: _gibibytes(x, "ours"),
        "torch, GiB": lambda x: _gibibytes(x, "torch"),
        "compiling, s": lambda x: f"{x['compile_seconds']:.1f}",
        "floor, ms": lambda x: f"{x['floor_ms']:.4g}",
        "of it": lambda x: f"{x['share_of_floor']:.0%}",
        "date": lambda x: x["date"],
    }
    text = [HEADER]
    for machine in dict.fromkeys(x["hardware"] for x in rows):
        text.append(f"## {machine}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}\n")
        own = [x for x in rows if x["hardware"] == machine]
        text += [f"| {' | '.join(show(x) for show in columns.values())} |\n" for x in own]
        text.append("\n")
    return "".join(text)


def _gibibytes(row, side):
    return f"{row['peak_bytes'][side] / 2**30:.2f}" if side in row["peak_bytes"] else ""


def alone(work, *arguments):
    """`work(*arguments)` in a process of its own, whose memory is its own, too."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(args: Args) -> int:
    from jaxgen.errors import UserError

    try:
        import torch
    except ImportError:
        raise UserError("there is no PyTorch to compare with; pip install torch") from None
    from experiments.benchmarks.torch_nets import WORKLOADS
    from experiments.benchmarks.torch_nets.weights import Mismatch

    for name in args.workloads:
        if name not in WORKLOADS:
            raise UserError(f"there is no workload {name}; there are {', '.join(WORKLOADS)}")
    if "bfloat16" in args.precision and not torch.cuda.is_available():
        raise UserError("--precision bfloat16 is timed on a GPU, and torch sees none")
    args.out.mkdir(parents=True, exist_ok=True)
    log, differ = args.out / "beside_torch.jsonl", 0
    for name in args.workloads or WORKLOADS:
        for precision in args.precision:
            task = Task(name, precision, args)
            try:
                row = alone(measure, task)
            except Mismatch as error:
                print(f"{name}: not timed, the halves are not the same: {error}", file=sys.stderr)
                differ = 1
                continue
            if args.memory and not row["peak_bytes"]:
                same = dataclasses.replace(args, channels_last=row["channels_last"])
                task = dataclasses.replace(task, args=same)
                row["peak_bytes"] = {side: alone(growth, task, side) for side in ("ours", "torch")}
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            lines = [json.loads(line) for line in log.read_text().splitlines()]
            (args.out / "beside_torch.md").write_text(table(lines))
            times = f"ours {row['ours_ms']:.4g} ms, torch {row['torch_ms']:.4g} ms a round"
            print(f"{row['workload']}, {precision}: {times}, ratio {row['ratio']:.2f}", flush=True)
    return differ


if __name__ == "__main__":
    # Room for both halves on one GPU: JAX would take three quarters of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
    from jaxgen.commands.terminal import one_line, parse

    with one_line("beside_torch"):
        sys.exit(main(parse(lambda **given: tyro.cli(Args, **given), sys.argv[1:], "beside_torch")))
