"""What the devices exchange in a round, and what one of them holds, read off the compiled program.

Everything that n devices do beyond one device's work is in its collectives. A round must exchange
  - each learner's gradient, once a minibatch, however often the loss calls the network,
  - the metrics, and
  - what an algorithm asks for: batch normalisation the two moments of a channel of every device
    forwards, gathered, and two gradients of a channel backwards, summed; CLIP the embeddings of the
    global batch, of which the loss is made.
The bodies of loops (critic steps) are written once in a program and counted once here.
"""

import importlib
import json
import math
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.data.source import DataInfo, Field
from jaxgen.data.tokens import learn
from jaxgen.nn import onednn
from jaxgen.train import devices
from jaxgen.train.nets import shapes
from jaxgen.train.program import compile_rounds
from tests.quick import quick_to_compile  # noqa: F401

BATCH = {"size": 8, "batch_size": 8}
FLAGS = {
    "dcgan": {**BATCH, "width": 4},
    "wgan_gp": {**BATCH, "width": 4, "critic_steps": 2},
    "cyclegan": {
        **{**BATCH, "width": 2, "discriminator_width": 2, "blocks": 1, "layers": 1, "pool": 16},
        "data": "emoji-domains",
    },
    "pix2pix": {**BATCH, "size": 16, "depth": 3, "width": 4, "data": "emoji-outlines"},
    "vae": {**BATCH, "units": 16, "latent": 2},
    "clip": {
        **{**BATCH, "patch": 8, "width": 8, "layers": 1, "heads": 2, "embedding": 4},
        **{"text_width": 8, "text_layers": 1, "text_heads": 2, "context": 8},
    },
}
COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-\w+)(?:-start)?\("
)


def compiled(experiment, n, **flags):
    """One round on n devices, compiled: (program, system, states' shapes, metrics' names)."""
    module = importlib.import_module(f"jaxgen.experiments.{experiment}")
    args = module.Args(**FLAGS[experiment] | flags)
    shape = (*args.size, args.channels)
    fields = {name: Field("text" if name == "text" else "image") for name in args.needs}
    words = learn(["a hat"], 6, context=FLAGS["clip"]["context"])
    system = module.system(args, DataInfo(shape, fields, vocabulary=words))
    mesh, plan = devices.make_mesh(jax.devices()[:n]), system.plan(0)
    states = shapes(system)

    def data(*shape, dtype=jnp.uint8):
        return jax.ShapeDtypeStruct((1, system.minibatches(plan), args.batch_size, *shape), dtype)

    batch = {name: data(*shape) for name in args.needs}
    if "text" in args.needs:
        batch["text"] = data(args.context, dtype=jnp.int32)
    inputs = states, batch, jax.ShapeDtypeStruct((1,), jnp.int32), jax.random.key(0)
    traced = compile_rounds(system, mesh, plan, fields=fields).trace(*inputs)
    _, metrics = traced.out_info
    return onednn.compiled(traced), system, states, set(metrics)


def collectives(program):
    """{kind: the numbers of elements of each instruction's arrays}."""
    found = {}
    for line in program.as_text().splitlines():
        if match := COLLECTIVE.search(line):
            sizes = re.findall(r"\w\[([\d,]*)\]", match[1])
            sizes = [math.prod(map(int, filter(None, size.split(",")))) for size in sizes]
            found.setdefault(match[2], []).append(sizes)
    return found


def size(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("experiment", "forwards", "backwards", "channels"),
    [
        # One norm of 4 channels in the generator. Its turn plays on the fakes of the
        # discriminator's, so that there is one pass forwards, and one backwards.
        ("dcgan", 1, 1, 4),
        # One norm of 64 channels: forwards in the critic's turn; forwards and backwards in its own.
        ("wgan_gp", 2, 1, 64),
        ("cyclegan", 0, 0, 0),  # instance norm is an example's; the pool lies where its lanes do
        ("vae", 0, 0, 0),
        ("clip", 0, 0, 0),
    ],
)
def test_a_round_exchanges_gradients_once_and_metrics(experiment, forwards, backwards, channels):
    program, system, states, metrics = compiled(experiment, 4)
    found = collectives(program)
    gradients = sum(size(states[name].params) for turn in system.turns for name in turn.learners)
    assert sum(map(sum, found["all-reduce"])) == (
        gradients + len(metrics) + backwards * 2 * channels
    )
    # XLA joins what is ready at one time: a turn has one exchange, and each of a norm's is one. A
    # number may go alone: the gradient of a Wasserstein critic's last bias, a constant (0), which
    # XLA takes out of the critic's loop.
    joined = [sizes for sizes in found.pop("all-reduce") if sum(sizes) > 1]
    assert len(joined) <= len(system.turns) + backwards
    if experiment == "clip":
        # Both towers' embeddings, 4 numbers an example: of the 8 to everyone, and the gradients
        # of everyone's loss back to the 2 of each device.
        assert found == {"all-gather": [[8 * 4]] * 2, "reduce-scatter": [[2 * 4]] * 2}
    else:
        moments = [[4 * 2 * channels]] * forwards  # of 4 devices
        assert found == ({"all-gather": moments} if moments else {})


@pytest.mark.parametrize(
    ("experiment", "generator"),
    [("dcgan", "Generator"), ("pix2pix", "UNet"), ("cyclegan", "Generator")],
)
def test_on_one_device_two_turns_make_their_fakes_once(experiment, generator):
    program, system, *_ = compiled(experiment, 1)
    product = rf'op_name="[^"]*/turn:([^/"]*)/jvp\({generator}\)/[^"]*(?:dot|conv)_general'
    assert set(re.findall(product, program.as_text())) == {system.turns[0].name}


@pytest.mark.parametrize(
    ("experiment", "flags"), [("pix2pix", {}), ("cyclegan", {"batch_size": 1}), ("wgan_gp", {})]
)
def test_states_are_changed_where_they_lie(experiment, flags):
    # XLA's CPU compiler copies what may still be read; see jaxgen.nn.order. The entries that make
    # its order are of the first arrays, biases, which may be copied, and counters.
    program, _, states, _ = compiled(experiment, 1, **flags)
    copies = re.findall(r" = \w+\[([\d,]*)\]\S* copy\(%states", program.as_text())
    copied = sum(math.prod(map(int, filter(None, dims.split(",")))) for dims in copies)
    assert copied < 0.01 * size(states)


def need(n):
    """(bytes that one of n devices needs beside the states, elements that it exchanges)."""
    program, *_ = compiled("vae", n, batch_size=1024)
    exchanged = sum(map(sum, collectives(program).get("all-reduce", [])))
    return program.memory_analysis().temp_size_in_bytes, exchanged


def test_more_devices_need_less_memory_each_and_exchange_no_more():
    code = (
        "import jax; jax.config.update('jax_num_cpu_devices', 8);"
        "jax.config.update('jax_disable_most_optimizations', True);"
        "from tests.train.test_scale import need; print(list(need(8)))"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as eight:
        needs = [need(1), need(2), need(4)]
        needs.append(json.loads(eight.stdout.read()))
    memory, exchanged = np.transpose(needs)
    assert (memory[1:] < 0.6 * memory[:-1]).all()  # half, and a few constants
    assert exchanged[0] == 0 < exchanged[1]
    assert (exchanged[1:] == exchanged[1]).all()
