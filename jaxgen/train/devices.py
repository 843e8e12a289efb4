"""The mesh of devices: which devices there are, and how arrays lie on them."""

import functools
import math

import jax
import numpy as np
from jax.experimental.layout import Format, Layout
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgen.errors import UserError
from jaxgen.nn import onednn
from jaxgen.parallel import AXIS, COPIES


def start_processes() -> None:
    """Joins the processes of a multi-host run, before any other use of JAX.

    On a cluster that JAX knows (SLURM, Open MPI, Kubernetes, Cloud TPU) nothing needs to be said;
    elsewhere JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say it.
    """
    import os

    given = {
        "coordinator_address": os.environ.get("JAX_COORDINATOR_ADDRESS"),
        "num_processes": os.environ.get("JAX_NUM_PROCESSES"),
        "process_id": os.environ.get("JAX_PROCESS_ID"),
    }
    try:
        jax.distributed.initialize(
            given["coordinator_address"],
            given["num_processes"] and int(given["num_processes"]),
            given["process_id"] and int(given["process_id"]),
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"no cluster of hosts was found ({str(error).splitlines()[0]}); set "
            "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        ) from error


def check_float32() -> None:
    """UserError where JAX is set to 64 bits, in which some weights would be float64."""
    if jax.config.read("jax_enable_x64"):
        raise UserError(
            "jaxgen trains and opens runs in float32, but JAX_ENABLE_X64 is set; unset it, or "
            "write `with jax.enable_x64(False):` around it"
        )


def make_mesh(devices=None, copies: int = 1) -> Mesh:
    """All devices of all processes (or `devices`): copies of a training are spread over the first
    axis, as far as a process's devices can share them evenly, and batches over the second."""
    if devices is None:  # in the order of the processes, each of which loads its share of a batch
        devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    processes = len({d.process_index for d in devices})
    apart = math.gcd(copies, len(devices) // processes)
    grid = np.asarray(devices).reshape(processes, apart, -1).swapaxes(0, 1).reshape(apart, -1)
    return Mesh(grid, (COPIES, AXIS), axis_types=(AxisType.Auto,) * 2)


def over(mesh: Mesh, program, in_specs, out_specs):
    """`jax.shard_map` of the program; on one device, where each share is the whole, itself."""
    if mesh.devices.size == 1:
        return program
    return jax.shard_map(program, mesh=mesh, in_specs=in_specs, out_specs=out_specs)


class AutoLayout:
    """The compiled `program(states, *rest) -> (states, result)`, which takes over the buffers of
    its states and lays them in memory as the compiler likes them best.

    In the usual layout the kernels of convolutions and their optimizer's moments would be
    transposed for cuDNN in every call, and back.  (Inside a loop, over rounds of a call or over
    minibatches, the compiler still does so.)  Everything else, such as a checkpoint, sees the
    same arrays as ever.
    """

    def __init__(self, program, mesh: Mesh):
        best = Format(Layout.AUTO)
        self._jitted = jax.jit(
            lambda states, rest: program(states, *rest),
            donate_argnums=0,
            in_shardings=(best, None),
            out_shardings=(best, None),
            compiler_options=compiler_options(mesh),
        )
        self._on_cpu = mesh.devices.flat[0].platform == "cpu"
        self._compiled, self._last = {}, (None, None)

    def trace(self, states, *rest):
        """The traced program, of arrays or their shapes."""
        with onednn.allowed(self._on_cpu):
            return self._jitted.trace(jax.tree.map(_shaped, states), rest)

    def compiled(self, states, *rest):
        """The program for arrays of these shapes, as JAX has compiled it."""
        return self._for(states, rest)[0]

    def __call__(self, states, *rest):
        compiled, formats, stay = self._for(states, rest)
        last, left = self._last
        if compiled is not last or states is not left:
            states = jax.device_put(states, formats)
        states, result = compiled(states, rest)
        self._last = compiled, states if stay else None
        return states, result

    def _for(self, states, rest):
        """The program, the formats in which states come, and whether they leave in the same."""
        kinds = [(x.shape, x.dtype) for x in jax.tree.leaves(rest)]
        known = jax.tree.structure((states, rest)), *kinds
        if known not in self._compiled:
            compiled = onednn.compiled(self.trace(states, *rest))
            (come, _), _ = compiled.input_formats
            left, _ = compiled.output_formats
            self._compiled[known] = compiled, come, come == left
        return self._compiled[known]


def _shaped(x):
    """The array's shape, type and place, whatever its layout."""
    placed = x.sharding if getattr(x, "committed", True) else None
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=placed)


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """The compiler options of `jax.jit`.

    On a CPU, which has two libraries for products, sums and convolutions, XLA chooses the slower
    one for convolutions (YNN's; Eigen takes 24 ms for 64 -> 128 channels, 4x4, stride 2, 32 px,
    batch 128 on two cores where YNN takes 29, and the gradient of the weights 32 instead of 42)."""
    return _cpu_options() if mesh.devices.flat[0].platform == "cpu" else {}


@functools.cache
def _cpu_options():
    kinds = ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in ("DOT", "INDIVIDUAL_DOT", "REDUCE"))
    options = {"xla_cpu_experimental_ynn_fusion_type": kinds}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(np.float32(0)).compile()
    except jax.errors.JaxRuntimeError:  # an XLA without the option
        return {}
    return options


def sharding(mesh: Mesh, *spec) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*spec))


def put(x, where: NamedSharding) -> jax.Array:
    """An array that every process has, laid on the mesh."""
    if jax.process_count() == 1:
        return jax.device_put(x, where)
    return jax.make_array_from_callback(x.shape, where, lambda i: jax.device_get(x)[i])


def whole(examples: int, mesh: Mesh, parts: int = 1) -> int:
    """The batch that has all the examples, or as many as the devices can share evenly, in `parts`
    each.  UserError where their number is not known."""
    if not examples:
        raise UserError("this data does not tell how many examples it has; give a batch size")
    n = mesh.shape[AXIS] * parts
    return max(n, examples // n * n)


def share(batch_size: int, mesh: Mesh, parts: int = 1) -> int:
    """The part of a global batch that one process loads; UserError where it cannot be split over
    the devices, and into `parts` on each."""
    n = mesh.shape[AXIS] * parts
    if batch_size % n:
        near = max(n, batch_size // n * n)
        each = f" in {parts} parts each" if parts > 1 else ""
        raise UserError(
            f"a batch of {batch_size} cannot be split over {mesh.shape[AXIS]} devices{each}; "
            f"use a multiple of {n}, such as {near}"
        )
    return batch_size // jax.process_count()
