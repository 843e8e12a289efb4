"""The one program that every system shares: rounds of turns, jitted over `jax.shard_map`.

On one device the mapping would be the identity, but one whose exchanges XLA cannot see through: it
is left out there, and what two turns have in common (DCGAN's fakes) is computed once.

States are donated.  The mean over devices is taken inside the differentiated function, so that
gradients are never averaged again; they are summed over devices once a minibatch, however often a
loss calls its networks.
"""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxgen import parallel
from jaxgen.data.source import Field, to_program
from jaxgen.nn import conv
from jaxgen.nn.order import after
from jaxgen.parallel import AXIS, COPIES
from jaxgen.train import devices
from jaxgen.train.game import Sweep, System, Turn
from jaxgen.train.nets import Net, PlayerState, layout

UNROLLED = 8  # minibatches of a turn, at most, in one pass of its loop on a GPU


def scope(turn: Turn) -> str:
    """Under which name a turn is found in profiles and compiled programs."""
    return f"turn:{turn.name}"


def compile_rounds(
    system: System,
    mesh: Mesh,
    plan: tuple[int, ...],
    *,
    fields: Mapping[str, Field] | None = None,
    precision: str = "float32",
    augment: Callable | None = None,
    accumulate: int = 1,
    remat: bool = False,
    sweep: Sweep | None = None,
):
    """The program that plays rounds of one plan: `(states, batches, rounds, key, store) ->
    (states, metrics)`.

    batches: arrays [K, M, B, ...] for K rounds of M = `system.minibatches(plan)` minibatches; with
      a `store` (a data set that lives on the devices) they are {"index": ...} into it, and under
      the name of a field its rows where they are others.
    rounds: [K] the rounds' numbers.
    metrics: {"turn/metric": [K]}, the mean over the turn's minibatches.
    accumulate: equal parts in which each device plays a minibatch, one after the other, for one
      optimizer step on the mean of their gradients.  What is drawn by example is the same; batch
      statistics, and losses that compare examples, are those of a part, and what moves with each
      call (running statistics, a spectral norm) moves with each part.
    states, key: with several keys [n] the states are of n copies, which play side by side on the
      same minibatches; metrics are their means, and {"turn/metric_spread": [K]} their standard
      deviations.
    remat: keep for the gradients only the results of convolutions and products, and compute what is
      between them (norms, activations) once more: less memory for a little more time.
    sweep: of which the copies are, each a value's; metrics are {"turn/metric name=value": [K]}.
    fields: what the arrays are; see `jaxgen.data.source.Field`.
    """
    dtype = jnp.bfloat16 if precision == "bfloat16" else None
    platform = mesh.devices.flat[0].platform
    on_cpu = platform == "cpu"
    # A GPU's compiler takes the usual layouts between passes of a loop, and transposes kernels and
    # moments for them; a turn of few minibatches is no loop. (A TPU's does not, and moves less in a
    # loop, where weights stay in its vector memory.)
    unroll = 1 if platform in ("cpu", "tpu") else UNROLLED

    def prepare(batch, store, key):
        if store is not None:
            pick = lambda entry, rows: jax.tree.map(lambda x: x[rows], entry)
            batch = {k: pick(v, batch.get(k, batch["index"])) for k, v in store.items()}
        batch = to_program(batch, fields or {})
        return augment(batch, key) if augment else batch

    def step(turn, states, store, batch, key, key_batch):
        key, key_nets, _ = jax.random.split(key, 3)
        _, _, key_data = jax.random.split(key_batch, 3)
        seen = lambda batch: prepare(batch, store, key_data)

        def objective(params, states, batch):
            # The transpose of this cast is the sum of the gradients over devices. Without it each
            # call of a network would cast, and exchange, for itself, in the type it computes in.
            copies = parallel.copies(params)
            nets = {}
            for i, (name, state) in enumerate(states.items()):
                key_net = jax.random.fold_in(key_nets, i)
                nets[name] = Net(state, key_net, params.get(name), dtype, copies.get(name))
            loss, metrics = turn.loss(SimpleNamespace(**nets), batch, key)
            # The mean over devices is inside the differentiated function, so that shard_map
            # returns the gradient of the global mean: gradients are never averaged again.
            metrics = {k: parallel.mean(v) for k, v in {"loss": loss, **metrics}.items()}
            changed = {name: net.collections for name, net in nets.items()}
            return metrics["loss"], (metrics, changed)

        params = {name: states[name].params for name in turn.learners}
        kept = jax.checkpoint(objective, policy=_results) if remat else objective
        gradients = jax.value_and_grad(kept, has_aux=True)
        if accumulate == 1:
            batch = seen(batch)
            (loss, (metrics, changed)), grads = gradients(params, states, batch)
            changed = {name: _sync(own) for name, own in changed.items()}
        else:
            play = lambda states, batch: gradients(params, states, seen(batch))
            loss, metrics, changed, grads = _in_parts(play, accumulate, states, batch, params)
            batch = seen(batch)  # for line searches

        if on_cpu:  # the weights are changed when this turn, and those before it, have read them
            before = [jax.tree.leaves(state.params)[:1] for state in states.values()]
            grads = after(grads, (grads, before))
        new = {n: s.replace(collections=changed[n]) for n, s in states.items()}
        for name in turn.learners:

            def alone(weights, name=name):
                return objective({**params, name: weights}, states, batch)[0]

            new[name] = _descend(new[name], grads[name], loss, alone, in_place=on_cpu)
        if turn.skip:
            stay = turn.skip(metrics)
            for name in turn.learners:
                keep = lambda old, moved: jnp.where(stay, old, moved)
                new[name] = jax.tree.map(keep, states[name], new[name])
        return new, metrics

    def one_value(states, store, batches, round, key, value):
        """A round of one of a sweep's copies: with the losses and optimizers of its value."""
        with sweep.guard():  # pyright: ignore
            own = sweep.build(value)  # pyright: ignore
            mine = {
                name: state.replace(apply_fn=p.module.apply, tx=p.optimizer or state.tx)
                for name, state in states.items()
                for p in [own.players[name]]
            }
            moved, metrics = one_round(mine, store, batches, round, key, own)
        alike = lambda state, was: state.replace(apply_fn=was.apply_fn, tx=was.tx)
        return {name: alike(state, states[name]) for name, state in moved.items()}, metrics

    def one_round(states, store, batches, round, key, system=system):
        key = jax.random.fold_in(key, round)
        metrics, used = {}, 0
        before: Any = None
        for t, (turn, times) in enumerate(zip(system.turns, plan, strict=True)):
            if not times:
                continue
            keys = jax.vmap(jax.random.fold_in, (None, 0))(
                jax.random.fold_in(key, t), jnp.arange(times)
            )
            if turn.reuse == "none":
                mine = jax.tree.map(lambda x: x[used : used + times], batches), keys  # noqa: B023
                used += times
            else:
                mine, noise = before
                keys = noise if turn.reuse == "batch+noise" else keys
            before = jax.tree.map(lambda x: x[-1:], (mine, keys))
            play = lambda states, xs, turn=turn: step(turn, states, store, *xs)
            with jax.named_scope(scope(turn)):
                states, values = _scan(play, states, (mine[0], keys, mine[1]), unroll)
            metrics |= {f"{turn.name}/{k}": v.mean(axis=0) for k, v in values.items()}
        learned = {n for t, k in zip(system.turns, plan, strict=True) if k for n in t.learners}
        for name, player in system.players.items():
            if name in learned and player.ema is not None:
                states[name] = _average(states[name], player.ema, round)
        return states, metrics

    def program(states, batches, rounds, own, store):
        """own: the key, or the copies' keys [n] and values [n]."""

        def play(states, xs):
            if not own[0].ndim:
                return one_round(states, store, *xs, *own)
            one = one_value if sweep else one_round
            weights = jax.tree.leaves({name: state.params for name, state in states.items()})
            convolves = any(x.ndim > 3 for x in weights)  # with the copies' axis
            several = _one_by_one if convolves and on_cpu else jax.vmap
            return several(lambda states, *own: one(states, store, *xs, *own))(states, *own)

        return _scan(play, states, (batches, rounds))

    def summary(metrics, key):
        """Metrics [K], of those of several copies [K, n]."""
        if sweep:
            every = [(name, x, i) for name, x in metrics.items() for i in range(len(sweep.values))]
            metrics = {f"{name} {sweep.label(i)}": x[..., i] for name, x, i in every}
        elif key.ndim:
            spreads = {f"{name}_spread": x.std(axis=-1) for name, x in metrics.items()}
            metrics = {name: x.mean(axis=-1) for name, x in metrics.items()} | spreads
        return metrics

    def over_devices(states, batches, rounds, key, store=None):
        lie = layout(states)
        share = jax.tree.map(lambda _: P(None, None, AXIS), batches)
        whole = jax.tree.map(lambda _: P(), store)
        own = (key, jnp.float32(sweep.values)) if sweep else (key,)
        a_copy = P(COPIES) if key.ndim else P()
        found = P(None, COPIES) if key.ndim else P()
        mapped = devices.over(mesh, program, (lie, share, P(), a_copy, whole), (lie, found))
        states, metrics = mapped(states, batches, rounds, own, store)
        return states, summary(metrics, key)

    return devices.AutoLayout(over_devices, mesh)


_results = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_saveable,
    jax.checkpoint_policies.save_only_these_names(conv.RESULT),
)


def _scan(f, carry, xs, unroll: int = 1):
    """`lax.scan` in equal passes of up to `unroll` steps; no loop where one pass is enough."""
    steps = jax.tree.leaves(xs)[0].shape[0]
    if steps > 1:
        a_pass = max(n for n in range(1, min(steps, unroll) + 1) if steps % n == 0)
        return lax.scan(f, carry, xs, unroll=a_pass)
    carry, y = f(carry, jax.tree.map(lambda x: x[0], xs))
    return carry, jax.tree.map(lambda y: y[None], y)


def _one_by_one(f):
    """`jax.vmap(f)`, one after another: XLA's CPU is slow at convolutions of many kernels (four
    copies of wgan's quick recipe take 6.7 times as long as one by vmap, 3.5 to 4.2 so; two cores,
    2026-11-30). Of dense networks copies by vmap are up to 1.4 times as fast."""

    def all_of(*xs):
        return _scan(lambda _, x: (None, f(*x)), None, xs)[1]

    return all_of


def _in_parts(play, n, states, batch, params):
    """(loss, metrics, collections, gradients) of `play(states, batch)` over `n` parts of the batch
    and of the replay memory; a part goes on with the collections that the one before has left."""
    cut = lambda tree: jax.tree.map(lambda x: x.reshape(n, x.shape[0] // n, *x.shape[1:]), tree)
    join = lambda tree: jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
    collections = {name: dict(state.collections) for name, state in states.items()}
    memory = {name: own.pop("memory") for name, own in collections.items() if "memory" in own}
    remembering = lambda own, memory: {
        name: {**kept, "memory": memory[name]} if name in memory else kept
        for name, kept in own.items()
    }

    def part(carry, xs):
        (collections, total), (index, batch, memory) = carry, xs
        own = remembering(collections, memory)
        mine = {name: state.replace(collections=own[name]) for name, state in states.items()}
        with parallel.part(index, n):
            (_, (metrics, changed)), grads = play(mine, batch)
        changed = {name: _sync(own) for name, own in changed.items()}
        memory = {name: changed[name].pop("memory") for name in memory}
        return (changed, jax.tree.map(jnp.add, total, grads)), (metrics, memory)

    start = collections, jax.tree.map(jnp.zeros_like, params)
    xs = jnp.arange(n), cut(batch), cut(memory)
    (changed, total), (metrics, memory) = lax.scan(part, start, xs)
    metrics = {name: values.mean(axis=0) for name, values in metrics.items()}
    grads = jax.tree.map(lambda x: x / n, total)
    return metrics["loss"], metrics, remembering(changed, join(memory)), grads


def _descend(state: PlayerState, grads, loss, value_fn, in_place: bool) -> PlayerState:
    """One optimizer step; line searches (optax.lbfgs) get the loss as a function of the weights.

    in_place: changes the optimizer's state after the weights. Without an order XLA's CPU compiler
      copies all weights, and Adam's first moments (457 MB a round of pix2pix at 256 px); a GPU's
      makes one kernel of all three.
    """
    tx = optax.with_extra_args_support(state.tx)
    updates, opt_state = tx.update(
        grads, state.opt_state, state.params, value=loss, grad=grads, value_fn=value_fn
    )
    params = optax.apply_updates(state.params, updates)
    if in_place:
        opt_state = after(opt_state, params)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state)


def _average(state: PlayerState, ema, round) -> PlayerState:
    decay: Any = ema(round) if callable(ema) else ema
    now = {"params": state.params, "batch_stats": state.collections.get("batch_stats", {})}
    mix = lambda old, new: decay * old + (1 - decay) * new
    return state.replace(ema=jax.tree.map(mix, state.ema, now))


def _sync(collections):
    """Running values that differ between devices become their mean; replay memory stays."""

    sync = lambda x: parallel.mean(x) if parallel.varies(x) else x
    return {k: v if k == "memory" else jax.tree.map(sync, v) for k, v in collections.items()}
