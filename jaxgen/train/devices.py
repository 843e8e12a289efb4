"""The mesh of devices: which devices there are, and how arrays lie on them."""

import functools

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxgen.errors import UserError
from jaxgen.parallel import AXIS


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


def make_mesh(devices=None) -> Mesh:
    """All devices of all processes (or `devices`) in a row."""
    if devices is None:  # in the order of the processes, each of which loads its share of a batch
        devices = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    return Mesh(np.asarray(devices), (AXIS,), axis_types=(AxisType.Auto,))


def over(mesh: Mesh, program, in_specs, out_specs):
    """`jax.shard_map` of the program; on one device, where each share is the whole, itself."""
    if mesh.devices.size == 1:
        return program
    return jax.shard_map(program, mesh=mesh, in_specs=in_specs, out_specs=out_specs)


def compiler_options(mesh: Mesh) -> dict[str, str]:
    """The compiler options of `jax.jit`.

    On a CPU, which has two libraries for convolutions, XLA chooses the slower one
    (YNN's; Eigen takes 24 ms for 64 -> 128 channels, 4x4, stride 2, 32 px, batch 128 on two cores
    where YNN takes 29, and the gradient of the weights 32 instead of 42)."""
    return _cpu_options() if mesh.devices.flat[0].platform == "cpu" else {}


@functools.cache
def _cpu_options():
    kinds = ",".join(f"LIBRARY_FUSION_TYPE_{kind}" for kind in ("DOT", "REDUCE"))
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
    n = mesh.devices.size * parts
    return max(n, examples // n * n)


def share(batch_size: int, mesh: Mesh, parts: int = 1) -> int:
    """The part of a global batch that one process loads; UserError where it cannot be split over
    the devices, and into `parts` on each."""
    n = mesh.devices.size * parts
    if batch_size % n:
        near = max(n, batch_size // n * n)
        each = f" in {parts} parts each" if parts > 1 else ""
        raise UserError(
            f"a batch of {batch_size} cannot be split over {mesh.devices.size} devices{each}; "
            f"use a multiple of {n}, such as {near}"
        )
    return batch_size // jax.process_count()
