"""Devices that need not be there: what they have, and how to compile for them.

A target is written `tpu:v5e:4x4` (a slice of chips) or `gpu:h100:8` (so many in one machine).
Others are in a TOML file, which is named in place of the kind: `gpu:my.toml:8`, with the keys of
`Device`, and for a GPU those of XLA's description of it, `[device]`.
"""

import dataclasses
import math
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Device:
    """What one device has, by its datasheet.

    memory: bytes.  bandwidth: of that memory, bytes a second.  bfloat16, float32: products' FLOPs a
    second in these formats (a float32 network's, as XLA computes by default: a TPU's in passes of
    bfloat16, an NVIDIA GPU's in TF32).
    device: of a GPU, what differs from an H100 in XLA's description.
    """

    memory: float
    bandwidth: float
    bfloat16: float
    float32: float
    device: dict[str, Any] = dataclasses.field(default_factory=dict)


_A100 = {
    "shared_memory_per_core": 167936,
    "core_count": 108,
    "fpus_per_core": 64,
    "memory_bandwidth": 2039040000000,
    "l2_cache_size": 41943040,
    "clock_rate_ghz": 1.41,
    "device_memory_size": 85100068864,
    "shared_memory_per_block_optin": 166912,
    "cuda_compute_capability": {"major": 8},
}
_A100_40 = _A100 | {"memory_bandwidth": 1555000000000, "device_memory_size": 42298834944}
_H200 = {"memory_bandwidth": 4800000000000, "device_memory_size": 151397597184}

# Memory, bandwidth and peaks: Google Cloud's pages of the TPUs, NVIDIA's datasheets (dense, SXM).
DEVICES = {
    "tpu": {
        "v4": Device(32 * GIB, 1.228e12, 275e12, 275e12),
        "v5e": Device(16 * GIB, 0.819e12, 197e12, 197e12),
        "v5p": Device(95 * GIB, 2.765e12, 459e12, 459e12),
        "v6e": Device(32 * GIB, 1.640e12, 918e12, 918e12),
    },
    "gpu": {
        "a100-40": Device(_A100_40["device_memory_size"], 1.555e12, 312e12, 156e12, _A100_40),
        "a100": Device(_A100["device_memory_size"], 2.039e12, 312e12, 156e12, _A100),
        "h100": Device(84978434048, 3.352e12, 989e12, 494e12),
        "h200": Device(_H200["device_memory_size"], 4.8e12, 989e12, 494e12, _H200),
    },
}

_H100 = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "shared_memory_per_block": 49152,
    "shared_memory_per_core": 233472,
    "threads_per_core_limit": 2048,
    "core_count": 132,
    "fpus_per_core": 128,
    "block_dim_limit_x": 2147483647,
    "block_dim_limit_y": 65535,
    "block_dim_limit_z": 65535,
    "memory_bandwidth": 3352320000000,
    "l2_cache_size": 52428800,
    "clock_rate_ghz": 1.98,
    "device_memory_size": 84978434048,
    "shared_memory_per_block_optin": 232448,
    "cuda_compute_capability": {"major": 9, "minor": 0},
    "registers_per_core_limit": 65536,
    "registers_per_block_limit": 65536,
}
NEEDS = {"tpu": ("libtpu", "jax[tpu]"), "gpu": ("jax_cuda12_plugin", "jax[cuda12]")}


@dataclasses.dataclass(frozen=True)
class Target:
    """Devices to compile for.  platform: as `jax.Device.platform`; shape: the slice's sides."""

    name: str
    platform: str
    kind: str
    shape: tuple[int, ...]
    device: Device

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def compile(self, lowered: Any) -> Any:
        """The program, compiled for these devices, on which nothing can be timed.  A GPU's matrix
        products are then kernels of XLA's own, or the library's where these do not suit one."""
        if self.platform != "gpu":
            return lowered.compile()
        untimed = {"xla_gpu_autotune_level": 0}
        try:
            return lowered.compile(untimed)
        except Exception as error:
            if "tile sizes" not in str(error):
                raise
            return lowered.compile(untimed | {"xla_gpu_enable_triton_gemm": False})

    def devices(self) -> list[Any]:
        """Stand-ins for the devices, of which a mesh can be made; UserError where their compiler
        is not installed, or knows no such slice."""
        import importlib.util

        module, package = NEEDS[self.platform]
        if not importlib.util.find_spec(module):
            raise UserError(
                f"{self.name} needs the compiler for it: pip install '{package}' (no such device "
                "is needed)"
            )
        from jax.experimental.topologies import get_topology_desc

        try:
            if self.platform == "tpu":
                sides = "x".join(map(str, self.shape))
                found = get_topology_desc(platform="tpu", topology_name=f"{self.kind}:{sides}")
            else:
                found = get_topology_desc(
                    topology_name="",
                    platform="cuda",
                    target_config=_config(self.device.device),
                    topology=f"1x1x{self.count}",
                )
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.name} is no target of the compiler: {reason}") from error
        return list(found.devices)


def prepare() -> None:
    """Sets what compiling for absent devices needs, before JAX starts."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")


def target(name: str) -> Target:
    """The target that a text such as `tpu:v5e:4x4` names; UserError."""
    platform, _, rest = name.partition(":")
    kind, _, sides = rest.rpartition(":")
    if platform not in DEVICES or not kind or not re.fullmatch(r"\d+(x\d+)*", sides):
        raise UserError(
            f"{name} is no target; write tpu:KIND:2x2 or gpu:KIND:8, KIND being one of {_kinds()}, "
            "or a TOML file"
        )
    shape = tuple(map(int, sides.split("x")))
    if platform == "gpu" and len(shape) > 1:
        raise UserError(f"{name}: GPUs are counted; write gpu:{kind}:{math.prod(shape)}")
    if not math.prod(shape):
        raise UserError(f"{name}: a target has 1 device or more")
    if kind in DEVICES[platform]:
        return Target(name, platform, kind, shape, DEVICES[platform][kind])
    if not kind.endswith(".toml"):
        raise UserError(f"{name}: {kind} is not known; known are {_kinds()}, or name a TOML file")
    own, device = _read(Path(kind), platform)
    return Target(name, platform, own, shape, device)


def _read(path: Path, platform: str) -> tuple[str, Device]:
    """The compiler's name of the kind, and the device."""
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is not TOML: {error}; mend it") from None
    numbers = {field.name for field in dataclasses.fields(Device)} - {"device"}
    own, may = {"kind"}, "kind (the compiler's name of it, such as v5e)"
    needed = numbers | own
    if platform == "gpu":
        own, may, needed = {"device"}, "[device], where it differs from an H100", numbers
    if wrong := sorted(values.keys() - numbers - own) + sorted(needed - values.keys()):
        raise UserError(
            f"{path}: a {platform.upper()}'s file has {', '.join(sorted(numbers))} and {may}; "
            f"look at {', '.join(wrong)}"
        )
    if bad := sorted(name for name in numbers if not (_number(values[name]) and values[name])):
        raise UserError(f"{path}: {bad[0]} is a number above 0, such as 3.35e12")
    kind = values.pop("kind", "")
    if not isinstance(kind, str) or ("kind" in own and not kind):
        raise UserError(f'{path}: kind is a name in quotes, such as "v5e"')
    _check(path, "device", values.get("device", {}), _H100)
    return kind, Device(**values)


def _number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and 0 <= x < math.inf


def _check(path: Path, name: str, given: Any, usual: dict[str, Any]) -> None:
    """UserError where the table has other keys than the usual one, or what is no number."""
    if not isinstance(given, dict):
        key, value = next(iter(usual.items()))
        raise UserError(f"{path}: {name} is a table, such as {name} = {{{key} = {value}}}")
    for key, value in given.items():
        if key not in usual:
            raise UserError(f"{path}: {name} has no {key}; it has {', '.join(usual)}")
        if isinstance(usual[key], dict):
            _check(path, key, value, usual[key])
        elif not _number(value):
            raise UserError(f"{path}: {key} is a number, such as {usual[key]}")


def _kinds() -> str:
    return ", ".join(f"{platform}:{kind}" for platform, own in DEVICES.items() for kind in own)


def _config(changes: dict[str, Any]) -> str:
    """XLA's description of a GPU (GpuTargetConfigProto, as text)."""
    lines = []
    for name, value in (_H100 | changes).items():
        if isinstance(value, dict):
            inside = " ".join(f"{k}: {v}" for k, v in value.items())
            lines.append(f"  {name} {{ {inside} }}")
        else:
            lines.append(f"  {name}: {value}")
    return "\n".join(
        [
            "gpu_device_info {",
            *lines,
            "}",
            'platform_name: "CUDA"',
            "dnn_version_info { major: 9 minor: 8 }",
            "runtime_version { major: 12 minor: 9 }",
            'device_description_str: "NVIDIA GPU"',
        ]
    )
