"""Our weights in networks of torch."""

from collections.abc import Iterator

import flax
import jax
import numpy as np
import torch

NAMES = {"kernel": "weight", "scale": "weight", "negative_slope": "weight", "class": "token"}


class Mismatch(Exception):
    """The two halves of a workload are not the same."""


def copy(net: torch.nn.Module, variables, ours: list[tuple[str, ...]], theirs: list[str]) -> None:
    """All of one network's weights, layer by layer in the order of the calls, and the vectors of
    their spectral norms."""
    owners = dict(net.named_modules())
    if len(ours) != len(theirs):
        raise Mismatch(f"{len(ours)} layers of ours have weights, {len(theirs)} of torch's")
    for path, name in zip(ours, theirs, strict=True):
        layer = _at(variables["params"], path)
        own = dict(owners[name].named_parameters(recurse=False))
        named = lambda k: k if k in own else NAMES.get(k, k)  # noqa: B023
        layer = {named(k): (k, x) for k, x in layer.items() if not isinstance(x, dict)}
        where = f"{'/'.join(path)} of ours, {name or 'the whole'} of torch's"
        if layer.keys() != own.keys():
            raise Mismatch(f"{where}: {sorted(layer)} are not {sorted(own)}")
        for key, (kind, x) in layer.items():
            x = turned(owners[name], kind, np.asarray(x))
            if x.size != own[key].numel() or x.squeeze().shape != own[key].squeeze().shape:
                raise Mismatch(f"{where}: {key} is {x.shape}, not {tuple(own[key].shape)}")
            with torch.no_grad():
                own[key].copy_(torch.from_numpy(x.copy()).reshape(own[key].shape))
        for key, x in _at(variables.get("spectral", {}), (*path, "spectral")).items():
            owners[name].get_buffer(key).copy_(torch.from_numpy(np.array(x)))


def turned(layer: torch.nn.Module, kind: str, x: np.ndarray) -> np.ndarray:
    """As torch lays it."""
    if kind == "kernel" and x.ndim == 4:
        x = x[::-1, ::-1] if getattr(layer, "flipped", False) else x
        return x.transpose(3, 2, 0, 1)
    if kind == "kernel":
        return x.T
    return x.transpose(2, 0, 1) if kind == "const" else x


def layers_of_ours(module, variables, inputs, **options) -> list[tuple[str, ...]]:
    """Paths of the submodules that have weights of their own, as `module(*inputs)` calls them."""
    called: list[tuple[str, ...]] = []

    def note(call, args, kwargs, context):
        path = tuple(context.module.path)
        if path not in called and any(_weights(variables["params"], path)):
            called.append(path)
        return call(*args, **kwargs)

    def run(variables, inputs):
        with flax.linen.intercept_methods(note):
            rest = [k for k in variables if k != "params"]
            rngs = {"dropout": jax.random.key(0)}
            return module.apply(variables, *inputs, mutable=rest, rngs=rngs, **options)

    jax.eval_shape(run, variables, inputs)
    return called


def layers_of_torch(net: torch.nn.Module, inputs) -> list[str]:
    """Names of the submodules that have weights of their own, as `net(*inputs)` calls them."""
    called: list[str] = []
    handles = []
    for name, layer in net.named_modules():
        if any(True for _ in layer.parameters(recurse=False)):
            note = lambda layer, _, name=name: None if name in called else called.append(name)
            handles.append(layer.register_forward_pre_hook(note))
    with torch.no_grad():
        net(*inputs)
    for handle in handles:
        handle.remove()
    return called


def _at(tree, path):
    for name in path:
        tree = tree.get(name, {})
    return tree


def _weights(params, path) -> Iterator[str]:
    return (name for name, x in _at(params, path).items() if not isinstance(x, dict))
