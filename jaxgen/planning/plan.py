"""What a training will take, before it is begun: from the compiled program, and a few rounds."""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.compiling import nothing_kept
from jaxgen.data.source import Data
from jaxgen.errors import UserError
from jaxgen.nn import onednn
from jaxgen.parallel import AXIS
from jaxgen.planning import targets
from jaxgen.planning.flops import flops
from jaxgen.planning.hlo import traffic
from jaxgen.progress import say
from jaxgen.train import devices, nets
from jaxgen.train.fit import COUNTED, iterate
from jaxgen.train.game import System
from jaxgen.train.metric_logger import Diverged
from jaxgen.train.program import compile_rounds, scope
from jaxgen.train.stages import Stage

Build = Callable[[int], System | list[Stage]]
TRIES = 4  # programs that are compiled to find the largest batch
FULL = 0.95  # of a device's memory, which is what is left to a program
LARGEST = 65_536  # no larger batch is tried
CALLS = 5  # that are played within the seconds of a measurement


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training (or one stage of it) takes.

    target: the devices, in words.  count: how many.  stage: its name; empty without stages.
    rounds, batch_size: as asked.  images: of a round on average, in all its minibatches.
    parameters: of each player, of all seeds together.
    arguments, temporary: bytes on one device, as the compiler says: states and minibatches, and
      what the program needs beside them.  memory: what the device has; 0 where that is not known.
    flops, bytes: an image, over all devices and seeds: of products, and read and written in memory.
    collectives: {kind: (how many, bytes of the results)} of the fullest round.
    calls: {library function: how many} in it.
    changes, pads: (how many, bytes written) of copies that change a layout, and of padded arrays.
    compile_seconds: of the fullest round's program.
    floor: seconds of a round, below which the device's peaks allow none; None where not known.
    images_per_second, seconds: measured, and of the whole training by that; None if not at hand.
    disk: bytes of the checkpoints that are kept.
    largest_batch: the largest of those tried that fits, 0 if none does; None if none was tried.
    limit: no larger batch is tried.
    """

    target: str
    count: int
    stage: str
    rounds: int
    batch_size: int
    images: float
    parameters: dict[str, int]
    arguments: int
    temporary: int
    memory: float
    flops: float
    bytes: float
    collectives: dict[str, tuple[int, int]]
    calls: dict[str, int]
    changes: tuple[int, int]
    pads: tuple[int, int]
    compile_seconds: float
    floor: float | None
    images_per_second: float | None
    seconds: float | None
    disk: int
    largest_batch: int | None
    limit: int

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        of = f" of {_size(self.memory)}" if self.memory else ""
        full = ", which does not fit" if 0 < self.memory < self.arguments + self.temporary else ""
        used = self.arguments + self.temporary
        lines = [
            ("devices", self.target),
            ("training", f"{self.rounds:,} rounds, batches of {self.batch_size}"),
            ("parameters", ", ".join(f"{k} {n:,}" for k, n in self.parameters.items())),
            (
                "memory",
                f"{_size(used)}{of} a device: {_size(self.arguments)} states and data, "
                f"{_size(self.temporary)} beside{full}",
            ),
            ("an image", f"{self.flops / 1e9:.3g} GFLOP, {self.bytes / 1e6:.3g} MB moved"),
            (
                "exchanges",
                ", ".join(f"{n} {k} ({b / 1e6:.3g} MB)" for k, (n, b) in self.collectives.items())
                or "none",
            ),
            ("compiling", f"{self.compile_seconds:.0f} s"),
            ("checkpoints", _size(self.disk)),
        ]
        if self.floor is not None:
            lines.append(("a round", f"{1000 * self.floor:.3g} ms or more, by the device's peaks"))
        if self.largest_batch is not None:
            more = " or more" if self.largest_batch >= self.limit else ""
            none = f"none that was tried fits in {FULL:.0%} of the memory"
            fits = f"{self.largest_batch:,}{more}" if self.largest_batch else none
            lines.append(("largest batch", fits))
        if self.images_per_second and self.seconds is not None:
            lines.append(("speed", f"{self.images_per_second:.4g} images a second"))
            lines.append(("time", _duration(self.seconds)))
        head = [f"{self.stage}:"] if self.stage else []
        return "\n".join([*head, *(f"{name:14}{text}" for name, text in lines)])


def plan(
    system: System | list[Stage] | Build,
    data: Data,
    rounds: int = 10_000,
    *,
    batch_size: int = 64,
    target: str | None = None,
    precision: str = "float32",
    seeds: int = 1,
    accumulate: int = 1,
    remat: bool = False,
    rounds_per_call: int = 1,
    keep: int = 3,
    mesh=None,
    seconds: float = 10.0,
    patience: float = 600.0,
) -> list[Plan]:
    """What a training would take, for each of its stages (one, where there are none).

    system: also as a function of the batch size, where it depends on it.
    target: devices that need not be there, such as "tpu:v5e:4x4" or "gpu:h100:8" (see
      `jaxgen.planning.targets`): nothing runs, the program is compiled for them.  None measures
      the devices at hand (or `mesh`), too.
    seconds: that real rounds are played for, or a little more.
    patience: seconds of compiling within which the largest batch that fits is looked for (of a
      `target`); 0 does not.

    Raises UserError where a compiler is missing, or refuses a batch that does not fit; where it
    does not refuse, the plan says so.
    """
    if target and mesh is not None:
        raise UserError(f"{target} has devices of its own; give a target or a mesh, not both")
    return list(
        plans(
            system,
            data,
            rounds,
            [target],
            batch_size=batch_size,
            precision=precision,
            seeds=seeds,
            accumulate=accumulate,
            remat=remat,
            rounds_per_call=rounds_per_call,
            keep=keep,
            mesh=mesh,
            seconds=seconds,
            patience=patience,
        )
    )


def plans(
    system: System | list[Stage] | Build,
    data: Data,
    rounds: int,
    aims: Iterable[str | None],
    *,
    batch_size: int,
    keep: int,
    patience: float,
    mesh=None,
    seconds: float = 10.0,
    **options,
) -> Iterator[Plan]:
    """Those of `plan` for each target (None: the devices at hand), each as soon as it is ready.
    Before the first one is compiled, all targets' compilers and the split of the batch are checked.
    """
    build: Build = system if not isinstance(system, list) and callable(system) else lambda _: system
    known = [targets.target(name) if name else None for name in aims]
    if any(known):
        targets.prepare()
    stages = _stages(build, data, rounds, batch_size)
    found = []
    for aim in known:
        on = mesh or devices.make_mesh(aim.devices() if aim else None, options["seeds"])
        found += [(name, _Planned(*stage, on, aim, options)) for name, *stage in stages]
    for name, planned in found:
        yield planned.plan(name, keep, seconds, patience)


def _stages(build, data, rounds, batch_size) -> list[tuple[Any, ...]]:
    """(name, system by batch size, data, rounds, batch size) of each; one without a name where
    there are none."""
    built = build(batch_size)
    if not isinstance(built, list):
        return [("", build, data, rounds, batch_size)]
    found = []
    for i, stage in enumerate(built):
        if callable(stage.data):
            say(f"stage {stage.name} is not planned: its data are made by the stage before")
            continue
        of = lambda batch, i=i: build(batch)[i].system
        own = stage.batch_size or batch_size
        found.append((stage.name, of, stage.data or data, stage.rounds, own))
    return found


class _Planned:
    """One system on one mesh."""

    def __init__(self, build, data, rounds, batch_size, mesh, aim, options):
        if rounds < 1:
            raise UserError(f"a training has 1 round or more, not {rounds}")
        batch_size = batch_size or devices.whole(data.info.examples, mesh, options["accumulate"])
        self.build, self.data, self.rounds, self.batch_size = build, data, rounds, batch_size
        self.mesh, self.aim, self.options = mesh, aim, options
        devices.share(batch_size, mesh, options["accumulate"])
        self.system: System = build(batch_size)
        plans = collections.Counter(self.system.plan(i) for i in range(min(rounds, COUNTED)))
        n = sum(plans.values())
        turns = range(len(self.system.turns))
        self.fullest = tuple(max(p[t] for p in plans) for t in turns)
        self.times = [sum(k * p[t] for p, k in plans.items()) / n for t in turns]
        fresh = sum(k * self.system.minibatches(p) for p, k in plans.items()) / n
        self.images = fresh * batch_size  # a round, on average

    def plan(self, stage: str, keep: int, seconds: float, patience: float) -> Plan:
        states = nets.shapes(self.system, self.data.info.zeros, self.options["seeds"])
        traced, per_call = self.trace(self.system, self.batch_size)
        began = time.perf_counter()
        try:
            compiled = self.compile(traced)
        except jax.errors.JaxRuntimeError as error:
            if not _full(error):
                raise
            where = self.aim.name if self.aim else _said(self.mesh)
            raise UserError(
                f"a batch of {self.batch_size} does not fit {where}: {str(error).splitlines()[0]}; "
                "use a smaller one or more devices, keep less (remat), or play it in parts "
                "(accumulate)"
            ) from error
        took = time.perf_counter() - began
        arguments, temporary = _memory(compiled)
        scopes = tuple(scope(turn) for turn in self.system.turns)
        platform = {"gpu": "cuda"}.get(self.platform, self.platform)
        work = flops(traced.jaxpr, platform, scopes)
        read = traffic(compiled.as_text(), scopes)
        share = {"": 1.0} | {
            s: t / f for s, t, f in zip(scopes, self.times, self.fullest, strict=True) if f
        }
        mean = lambda by: {s: by.get(s, 0.0) * k / per_call for s, k in share.items()}
        work, moved = mean(work), mean(read.bytes)
        n = self.mesh.devices.size
        size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
        count = lambda state: sum(x.size for x in jax.tree.leaves(state.params))
        each = lambda two: (two[0] // per_call, two[1] // per_call)
        speed = None if self.aim else self.measure(seconds)
        looked_for = self.aim and patience
        largest = self.largest(arguments + temporary, took, patience) if looked_for else None
        return Plan(
            target=self.aim.name if self.aim else _said(self.mesh),
            count=n,
            stage=stage,
            rounds=self.rounds,
            batch_size=self.batch_size,
            images=self.images,
            parameters={name: count(state) for name, state in states.items()},
            arguments=arguments,
            temporary=temporary,
            memory=self.memory,
            flops=sum(work.values()) * n / self.images,
            bytes=sum(moved.values()) * n / self.images,
            collectives={kind: each(two) for kind, two in read.collectives.items()},
            calls={name: n // per_call for name, n in read.calls.items()},
            changes=each(read.changes),
            pads=each(read.pads),
            compile_seconds=took,
            floor=self.floor(work, moved),
            images_per_second=speed,
            seconds=self.rounds * self.images / speed if speed else None,
            disk=keep
            * size({name: state.replace(apply_fn=None) for name, state in states.items()}),
            largest_batch=largest,
            limit=self.limit,
        )

    @property
    def platform(self) -> str:
        return self.mesh.devices.flat[0].platform

    @property
    def split(self) -> int:
        """Parts of a batch."""
        return self.mesh.shape[AXIS] * self.options["accumulate"]

    @property
    def limit(self) -> int:
        return LARGEST // self.split * self.split

    @property
    def memory(self) -> float:
        if self.aim:
            return self.aim.device.memory
        stats = self.mesh.devices.flat[0].memory_stats() or {}
        return float(stats.get("bytes_limit", 0))

    def trace(self, system, batch_size):
        """The program of the fullest round, traced, and how many rounds it plays."""
        data, mesh = self.data, self.mesh
        per_call = min(self.options["rounds_per_call"], self.rounds)
        program = compile_rounds(
            system,
            mesh,
            self.fullest,
            fields=data.info.fields,
            precision=self.options["precision"],
            augment=data.augment,
            accumulate=self.options["accumulate"],
            remat=self.options["remat"],
        )
        at = lambda shape, dtype, *spec: jax.ShapeDtypeStruct(
            shape, dtype, sharding=devices.sharding(mesh, *spec)
        )
        many = per_call, system.minibatches(self.fullest)
        split = None, None, AXIS
        store = data.resident and {k: at(x.shape, x.dtype) for k, x in data.resident.items()}
        if store:
            batches = {"index": at((*many, batch_size), jnp.int32, *split)}
        else:
            examples = jax.tree.map(np.asarray, data.examples(1))
            put = lambda x: at((*many, batch_size, *x.shape[1:]), x.dtype, *split)
            batches = jax.tree.map(put, examples)
        seeds = self.options["seeds"]
        key = jax.eval_shape(lambda: nets.seeded(0, seeds))
        states = nets.placed(nets.shapes(system, data.info.zeros, seeds), mesh)
        rounds = at((per_call,), jnp.int32)
        return program.trace(states, batches, rounds, at(key.shape, key.dtype), store), per_call

    def compile(self, traced):
        if not self.aim:
            return onednn.compiled(traced)
        with nothing_kept():  # programs for absent devices could not be loaded again
            return self.aim.compile(traced.lower())

    def floor(self, work, moved) -> float | None:
        """Seconds of a round on average, each turn by what is scarcer there; what belongs to no
        turn may be moved beside them, and counts where all bytes together take longer."""
        if not self.aim:
            return None
        device = self.aim.device
        peak = device.bfloat16 if self.options["precision"] == "bfloat16" else device.float32
        turns = sum(max(work[s] / peak, moved[s] / device.bandwidth) for s in work if s)
        return max(turns, sum(moved.values()) / device.bandwidth)

    def measure(self, seconds: float) -> float | None:
        """Images a second of real rounds, in calls of as many as asked, or of fewer where these
        would take too long; None where there are too few."""
        per_call = min(self.options["rounds_per_call"], self.rounds)
        if per_call == 1:
            return self.play(1, seconds)
        alone = self.play(1, seconds / CALLS)
        longest = self.system.minibatches(self.fullest) * self.batch_size / (alone or 1)
        per_call = min(per_call, int(seconds / CALLS / longest))
        return self.play(per_call, seconds) if alone and per_call > 1 else alone

    def play(self, per_call: int, seconds: float) -> float | None:
        """Images a second from the second call on, for `seconds`, or at least two more calls."""
        records, rounds = [], max(self.rounds, 10 * per_call)
        own = {"batch_size": self.batch_size, "rounds_per_call": per_call, "mesh": self.mesh}
        every = {"log_every": per_call, "sample_every": rounds, "save_every": rounds}
        options = self.options | own | every
        with contextlib.suppress(Diverged):  # such as a stage's without the stage before
            for record in iterate(self.system, self.data, rounds, **options):
                records.append((record["images"], time.perf_counter()))
                if len(records) > 2 and records[-1][1] - records[1][1] > seconds:
                    break
        if len(records) < 3:
            return None
        (images, then), (later, now) = records[1], records[-1]
        return (later - images) / (now - then)

    def largest(self, used: int, took: float, patience: float) -> int | None:
        """The largest batch that fits: a line through two measured ones, then tried."""
        n = self.split
        room = FULL * self.memory
        tried = {self.batch_size: used}
        spent = 0.0
        guess = self.batch_size * (2 if used < room else 0.5)
        for _ in range(TRIES):
            batch = min(int(guess) // n * n, self.limit)
            if batch < n or batch in tried or spent + took > patience:
                break
            began = time.perf_counter()
            say(f"trying a batch of {batch:,}")
            tried[batch] = self.needs(batch)
            took = time.perf_counter() - began
            spent += took
            known = {b: m for b, m in tried.items() if m < float("inf")}
            if len(known) > 1:
                (a, low), (b, high) = min(known.items()), max(known.items())
                slope = max((high - low) / (b - a), 1e-9)
                guess = a + (room - low) / slope
            if tried[batch] == float("inf"):
                guess = min(guess, 0.9 * batch)
        return max((b for b, m in tried.items() if m <= room), default=0)

    def needs(self, batch: int) -> float:
        """Bytes on a device; infinity where the compiler refuses."""
        try:
            return sum(_memory(self.compile(self.trace(self.build(batch), batch)[0])))
        except UserError:  # the system takes no such batch
            return float("inf")
        except jax.errors.JaxRuntimeError as error:
            if not _full(error):
                raise
            return float("inf")


def _memory(compiled) -> tuple[int, int]:
    """Bytes of arguments (donated ones once) with results, and of the rest, on one device."""
    stats = compiled.memory_analysis()
    results = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return stats.argument_size_in_bytes + results, stats.temp_size_in_bytes


def _full(error) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error)


def _said(mesh) -> str:
    first, n = mesh.devices.flat[0], mesh.devices.size
    return f"{n} x {first.device_kind}" if n > 1 else first.device_kind


def _size(n: float) -> str:
    return f"{n / 2**30:.2f} GiB" if n >= 2**30 else f"{n / 2**20:.3g} MiB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.1f} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"
