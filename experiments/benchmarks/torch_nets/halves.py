"""The two halves of a workload, ready to be played, and the proof that they are the same."""

import contextlib
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from experiments.benchmarks.torch_nets import weights
from experiments.benchmarks.torch_nets.weights import Mismatch
from experiments.benchmarks.torch_nets.workload import Machine, Nets, Workload
from jaxgen import parallel
from jaxgen.data.source import Field, to_program
from jaxgen.planning.flops import flops
from jaxgen.train import devices
from jaxgen.train.nets import init, place
from jaxgen.train.program import compile_rounds

FIELDS = {name: Field("image") for name in ("image", "a", "b")}
TOLERANCE = 1e-4  # of the largest output, in float32
SLOPES_TOLERANCE = 0.1  # of the gradients' norm: where a ReLU's input is near 0 they jump


def data(workload: Workload, system) -> list[dict[str, np.ndarray]]:
    """The minibatches of a round; every round has the same ones."""
    rng = np.random.default_rng(0)
    return [workload.minibatch(rng) for _ in range(system.minibatches(system.plan(0)))]


class Ours:
    """The compiled program of each plan, called as `fit` calls it, on one device."""

    def __init__(self, workload: Workload, precision: str = "float32", per_call: int = 1):
        self.system, self.precision, self.per_call = workload.system(), precision, per_call
        self.mesh = devices.make_mesh(jax.devices()[:1])
        self.minibatches = data(workload, self.system)
        examples = lambda n: to_program(self.minibatches[0], FIELDS)
        self.states = place(init(self.system, jax.random.key(0), examples), self.mesh)
        self.key = jax.random.key(1)
        self.period = math.lcm(*(turn.every for turn in self.system.turns))
        plans = [self.system.plan(number) for number in range(self.period)]
        # Rounds of one plan take the same time: the first number of each, and how many there are.
        self.kinds = {plans.index(plan): plans.count(plan) for plan in plans}
        self.programs: dict[Any, Any] = {}
        self.compile_seconds = 0.0

    def play(self, rounds: int, number: int = 0) -> dict[str, jax.Array]:
        """Rounds like that of the number. The last call's metrics."""
        metrics = {}
        for first in range(0, rounds, self.per_call):
            n = min(self.per_call, rounds - first)
            program, batches = self._program(self.system.plan(number), n)
            numbers = np.full(n, number, np.int32)
            self.states, metrics = program(self.states, batches, numbers, self.key)
        jax.block_until_ready(self.states)
        return metrics

    def _program(self, *what):
        if what not in self.programs:
            program, batches, numbers = self.built(*what)
            start = time.perf_counter()
            program.compiled(self.states, batches, numbers, self.key)
            self.compile_seconds += time.perf_counter() - start
            self.programs[what] = program, batches
        return self.programs[what]

    def built(self, plan: tuple[int, ...], rounds: int = 1):
        """The program of so many rounds, with what it is called with."""
        n = self.system.minibatches(plan)
        stack = lambda *xs: np.broadcast_to(np.stack(xs[:n]), (rounds, n, *xs[0].shape))
        where = devices.sharding(self.mesh, None, None, parallel.AXIS)
        batches = jax.device_put(jax.tree.map(stack, *self.minibatches, self.minibatches[0]), where)
        program = compile_rounds(
            self.system, self.mesh, plan, fields=FIELDS, precision=self.precision
        )
        return program, batches, np.zeros(rounds, np.int32)

    def cost(self) -> tuple[float, float]:
        """(FLOPs, bytes) of a round, the mean over a period of them.

        FLOPs are those of products and convolutions, bytes XLA's count of the compiled program. It
        counts the body of a loop once, so that further minibatches of a turn are added here.
        """
        total = np.zeros(2)
        for number, count in self.kinds.items():
            plan = self.system.plan(number)
            once = tuple(min(times, 1) for times in plan)
            total += count * self._cost(once)
            for i, (turn, times) in enumerate(zip(self.system.turns, plan, strict=True)):
                if times > 1 and turn.reuse == "none":
                    alone = tuple(int(i == j) for j in range(len(plan)))
                    total += count * (times - 1) * self._cost(alone)
        return tuple(map(float, total / self.period))

    def _cost(self, plan):
        if ("cost", plan) not in self.programs:
            program, *rest = self.built(plan)
            known, _ = self.programs.get((plan, 1), (program, None))
            compiled = known.compiled(self.states, *rest, self.key).cost_analysis()
            jaxpr = program.trace(self.states, *rest, self.key).jaxpr
            platform = {"gpu": "cuda"}.get(name := jax.default_backend(), name)
            work = sum(flops(jaxpr, platform).values())
            self.programs["cost", plan] = np.array([work, compiled["bytes accessed"]])
        return self.programs["cost", plan]


class Theirs:
    """Plain training in torch, networks compiled if asked for."""

    def __init__(
        self, workload: Workload, nets: Nets, machine: Machine, minibatches, compile=False
    ):
        for net in nets.values():
            net.to(machine.device, memory_format=machine.layout)
        for part in workload.parts(nets) if compile else ():
            part.compile()
        self.machine, self.round = machine, workload.play(nets, machine)
        put = lambda x: torch.from_numpy(x).to(machine.device)
        self.minibatches = [{k: put(x) for k, x in batch.items()} for batch in minibatches]

    def play(self, rounds: int, number: int = 0) -> dict[str, torch.Tensor]:
        """Rounds like that of the number. The last one's losses."""
        losses = {}
        for _ in range(rounds):
            losses = self.round(self.minibatches, number)
        if self.machine.device == "cuda":
            torch.cuda.synchronize()
        return losses


def paired(workload: Workload, system, states, machine: Machine) -> Nets:
    """Networks of torch with the states' weights. Mismatch where they are not the same function."""
    nets = workload.nets()
    ours = {name for name, state in states.items() if jax.tree.leaves(state.params)}
    if ours != nets.keys():
        raise Mismatch(f"the players are {sorted(ours)}, torch's {sorted(nets)}")
    for name, net in nets.items():
        net.to(machine.device, memory_format=machine.layout)
        try:
            answers, slopes = _compare(
                workload, name, system.players[name], states[name], net, machine
            )
        except Mismatch as error:
            raise Mismatch(f"{name}: {error}") from None
        if not answers < TOLERANCE:
            raise Mismatch(f"{name}: the outputs differ by {answers:.1g} of the largest one")
        if not slopes < SLOPES_TOLERANCE:
            raise Mismatch(f"{name}: the gradients differ by {slopes:.1g} of their norm")
    return nets


def _compare(workload, name, player, state, net, machine) -> tuple[float, float]:
    """The difference of the outputs, in units of the largest one, and that of the gradients of
    their weighted sum with respect to the inputs, in units of their norm. Afterwards `net` has the
    state's weights.

    In float32, ours on the CPU, torch's where it is timed and in the same layout: on a CPU, torch
    2.13 gets some gradients of batches of 1 wrong where images lie channels last.
    """
    rng, quiet = np.random.default_rng(0), workload.quiet.get(name, {})
    inputs = player.inputs
    if callable(inputs):
        inputs = inputs(lambda n: to_program(workload.minibatch(rng), FIELDS))
    inputs = [_example(x, workload.batch_size, rng) for x in inputs]
    here = jax.device_get({"params": state.params, **state.collections})
    # Weights that are all alike would hide a layer that is not there: these are moved.
    moved = lambda x: x + 0.1 * rng.normal(size=x.shape).astype(x.dtype) if np.ptp(x) == 0 else x
    shaken = {**here, "params": jax.tree.map(moved, here["params"])}
    order = weights.layers_of_ours(player.module, shaken, inputs, **quiet)
    for leaf in net.modules():  # dropout and noise, not batch normalisation
        if not [*leaf.children(), *leaf.buffers()]:
            leaf.eval()
    tensors = [_channels(torch.from_numpy(x).to(machine.device), 3, 1) for x in inputs]
    tensors = [x.contiguous(memory_format=machine.layout) if x.ndim == 4 else x for x in tensors]
    names = weights.layers_of_torch(net, tensors)
    weights.copy(net, shaken, order, names)
    with _exact():
        theirs = _answers_and_slopes_of_torch(net, tensors)
    weights.copy(net, here, order, names)
    net.train()
    with jax.default_device(jax.devices("cpu")[0]), jax.default_matmul_precision("highest"):
        ours = _answers_and_slopes_of_ours(player.module, shaken, inputs, quiet)
    return tuple(
        max(map(_difference, a, b), default=0.0) for a, b in zip(ours, theirs, strict=True)
    )


def _difference(x, y) -> float:
    y = _channels(y.detach(), 1, 3).cpu().numpy()
    if x.shape != y.shape:
        raise Mismatch(f"ours is {x.shape} where torch's is {y.shape}")
    difference = float(np.abs(x - y).max() / np.abs(x).max())
    return math.inf if math.isnan(difference) else difference


def _answers_and_slopes_of_ours(module, variables, inputs, quiet):
    rngs = {"dropout": jax.random.key(0)}
    rest = [k for k in variables if k != "params"]

    def total(inputs, variables):
        answers = module.apply(variables, *inputs, mutable=rest, rngs=rngs, **quiet)[0]
        answers = jax.tree.leaves(answers)
        return sum((x * _ramp(x.shape)).sum() for x in answers), answers

    if any(np.issubdtype(x.dtype, np.integer) for x in inputs) or not inputs:
        return jax.device_get((jax.jit(total)(inputs, variables)[1], []))
    slopes, answers = jax.jit(jax.grad(total, has_aux=True))(inputs, variables)
    return jax.device_get((answers, slopes))


def _answers_and_slopes_of_torch(net, inputs):
    real = bool(inputs) and all(x.is_floating_point() for x in inputs)
    inputs = [x.requires_grad_() for x in inputs] if real else inputs
    answers = net(*inputs)
    answers = [answers] if isinstance(answers, torch.Tensor) else list(answers)
    last = [_channels(y, 1, 3) for y in answers]
    total = sum((y * torch.from_numpy(_ramp(y.shape)).to(y.device)).sum() for y in last)
    return answers, torch.autograd.grad(total, inputs) if real else []


@contextlib.contextmanager
def _exact():
    """In which torch computes float32 as such, not TF32."""
    kinds = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [kind.allow_tf32 for kind in kinds]
    for kind in kinds:
        kind.allow_tf32 = False
    yield
    for kind, allowed in zip(kinds, before, strict=True):
        kind.allow_tf32 = allowed


def _ramp(shape) -> np.ndarray:
    """Weights that tell every number of an output from the others."""
    return np.cos(np.arange(math.prod(shape), dtype=np.float32)).reshape(shape)


def _channels(x: torch.Tensor, old: int, new: int) -> torch.Tensor:
    return x.movedim(old, new) if x.ndim == 4 else x


def _example(x, batch_size, rng) -> np.ndarray:
    """Random numbers for what a player was initialised with, no more examples than are timed."""
    shape = x if isinstance(x, tuple) else x.shape
    shape = (min(shape[0], batch_size), *shape[1:])
    if not isinstance(x, tuple) and jnp.issubdtype(x.dtype, jnp.integer):
        return rng.integers(0, 16, shape, dtype=np.int32)
    return rng.normal(size=shape).astype(np.float32)
