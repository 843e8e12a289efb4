"""Weights and programs of a trained run, as files that are used without jaxgen."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax import export as jax_export
from jax.sharding import PartitionSpec as P

import jaxgen
from jaxgen.errors import UserError
from jaxgen.files import replacing
from jaxgen.parallel import AXIS
from jaxgen.progress import say
from jaxgen.runs.choices import check_names, kind, values
from jaxgen.runs.sampling import prepared
from jaxgen.runs.translating import translator
from jaxgen.train.abilities import SET, Sampler
from jaxgen.train.nets import bind
from jaxgen.train.run import read_run

if TYPE_CHECKING:
    from jaxgen.runs.trained import TrainedRun

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export(
    trained: "TrainedRun",
    path: Path,
    *,
    to: str | None = None,
    player: str | Sequence[str] | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    direction: str | None = None,
    seed: int = 0,
    batch: int = 64,
    **choices,
) -> Path:
    """Writes `path`, and what it holds in words as JSON beside it (PATH.json); returns `path`.

    to: "safetensors" or "stablehlo"; by default the path's suffix.

    safetensors: all arrays by names like generator/params/Conv_0/kernel, the averaged weights where
      there are any; of all players, frozen ones too, or of those that `player` names.  The JSON is
      the file's metadata "jaxgen", too.
    stablehlo: a program for `jax.export`, with the weights in it, for any number of images: latents
      (and conditions [n, ...]) to images, as `sample` does, or images to images, each on its own,
      as `translate` does, of any size where the system takes any.  Images are float32 [n, H, W, C]
      in [-1, 1].
        platforms: what it runs on.  direction: which translator, where there are several.
        choices: values of the ability's options.  seed: of the noise that the networks draw, which
        is part of the program.  batch: the number of images where a program cannot take any.

    UserError for what cannot be exported, or not be written.
    """
    path = Path(path)
    to = to or path.suffix[1:]
    if to == "safetensors":
        if direction or choices:
            given = ", ".join([*(["direction"] if direction else []), *choices])
            raise UserError(f"weights have no {given}; leave it out, or export to stablehlo")
        content, card = _weights(trained, player)
    elif to == "stablehlo":
        if player:
            raise UserError("player is for weights; a program holds the players that it needs")
        content, card = _program(trained, path, platforms, direction, seed, batch, choices)
    else:
        raise UserError(f"{path.name} ends in neither .safetensors nor .stablehlo; rename it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        with replacing(path.with_name(f"{path.name}.json")) as temporary:
            temporary.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path} cannot be written ({reason}); name another place") from error
    return path


def _about(trained: "TrainedRun") -> dict[str, Any]:
    """What every file says of the run."""
    record = read_run(trained.folder) if trained.folder else None
    arguments = dict(record.args) if record else {}
    return {
        "jaxgen": jaxgen.__version__,
        "experiment": arguments.pop("experiment", trained.name),
        "arguments": arguments,
        "round": trained.round,
        "data": trained.info.to_json(),
        "provenance": record.environment[-1] if record and record.environment else None,
    }


def _weights(trained, player) -> tuple[bytes, dict[str, Any]]:
    from safetensors.numpy import save

    players = trained.system.players
    names = [player] if isinstance(player, str) else player or list(players)
    arrays, described = {}, {}
    for name in names:
        own = trained.frozen(name)
        leaves = jax.tree_util.tree_flatten_with_path({name: own.variables})[0]
        path = lambda keys: jax.tree_util.keystr(keys, simple=True, separator="/")
        arrays |= {path(keys): np.asarray(x, order="C") for keys, x in leaves}
        described[name] = {
            "parameters": sum(x.size for x in jax.tree.leaves(own.variables["params"])),
            "averaged": trained.states[name].ema is not None,
            "frozen": players[name].optimizer is None,
        }
    shapes = {name: x.shape for name, x in arrays.items()}
    card = {**_about(trained), "players": described, "shapes": shapes}
    return save(arrays, {"jaxgen": json.dumps(card)}), card


class _Input(NamedTuple):
    """An array [n, *shape] that a program is given; `numpy` is Python that makes one."""

    name: str
    shape: tuple[int, ...]
    dtype: Any
    range: str
    numpy: str = "np.zeros({})"


def _program(trained, path, platforms, direction, seed, batch, choices):
    platforms = [platforms] if isinstance(platforms, str) else list(platforms)
    if not platforms or not set(platforms) <= set(PLATFORMS):
        raise UserError(f"platforms are some of {', '.join(PLATFORMS)}, not {platforms}")
    sampler = trained.system.ability(Sampler) if direction is None else None
    ability = sampler or translator(trained, direction)
    check_names(trained.name, choices, tuple(ability.options))
    options = dict(values(ability.options, choices))
    run, inputs = (_sampled if sampler else _translated)(trained, ability, options, seed)
    exported, notes = _lowered(run, inputs, ability, platforms, batch, seed)
    for note in notes:
        say(f"{path.name}: {note}")
    described = [
        {"name": x.name, **_described(aval, x.range)}
        for x, aval in zip(inputs, exported.in_avals, strict=True)
    ]
    card = {
        **_about(trained),
        "ability": type(ability).__name__.lower(),
        "direction": getattr(ability, "name", "") or None,
        "options": options,
        "notes": notes,
        "inputs": described,
        "output": _described(exported.out_avals[0], "[-1, 1]"),
        "platforms": platforms,
        "jax": jax.__version__,
        "python": _example(path, inputs, exported),
    }
    return bytes(exported.serialize()), card


def _sampled(trained, sampler, options, seed):
    """(arrays [n, ...] -> images, what the arrays are), with the noise of `samples`."""
    keys = jax.random.split(jax.random.key(seed), 3)
    key, _, key_noise = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, 0)
    latents = jax.eval_shape(lambda: sampler.prior(key, 1))
    leaves, structure = jax.tree.flatten_with_path(latents)
    trained = prepared(trained, sampler, tuple(options.items()))

    def generate(*arrays):
        z = jax.tree.unflatten(structure, arrays[: len(leaves)])
        condition = dict(zip(sampler.condition, arrays[len(leaves) :], strict=True))
        nets = bind(trained.states, key)
        return sampler.generate(nets, z, condition, key_noise, **options).clip(-1, 1)

    of = getattr(sampler.prior, "name", "draws of the system's prior")
    drawn = getattr(sampler.prior, "numpy", "np.zeros({})")
    name = lambda path: "_".join(["z", *(jax.tree_util.keystr((k,), simple=True) for k in path)])
    inputs = [_Input(name(path), x.shape[1:], x.dtype, of, drawn) for path, x in leaves]
    batch = trained.info.zeros(1)
    return generate, inputs + [_input(trained.info, k, batch[k]) for k in sampler.condition]


def _translated(trained, way, options, seed):
    """(arrays [n, ...] -> images, what the arrays are)."""
    key = jax.random.key(seed)

    def translate(*arrays):
        given = dict(zip(way.inputs, arrays, strict=True))
        return way.translate(bind(trained.states, key), given, key, **options).clip(-1, 1)

    batch = trained.info.zeros(1)
    if SET in way.inputs:  # training data need not show what an edit comes to
        given = {"image": batch["image"], SET: np.zeros((1, len(trained.info.attribute_names)))}
        given = jax.tree.map(np.float32, given)
    else:
        given, _ = jax.eval_shape(lambda: way.pair(batch))
    return translate, [_input(trained.info, name, given[name]) for name in way.inputs]


def _input(info, name, x):
    """What is said of an input: an image, unless it is a field of another kind."""
    ranges = {
        "label": f"0 to {len(info.label_names) - 1}, in the order of label_names",
        "attributes": "0 to 1, in the order of attribute_names",
        SET: "0 to 1, in the order of attribute_names; NaN for one that stays",
        "text": "tokens of the run's vocabulary",
        "classes": "labels",
        "mask": "0 or 1",
    }
    said = ranges.get(kind(info, name), "[-1, 1]")
    return _Input(name, x.shape[1:], x.dtype, said)


def _lowered(run, inputs, ability, platforms, batch, seed):
    """(the program, for as many shapes of its inputs as can be; what is to be said of it)."""
    # As if every image had a device to itself: draws by example stay what they are, and networks,
    # which may count and compare, see sizes that are known.
    single = lambda *arrays: run(*(x[None] for x in arrays))[0]
    sampling = isinstance(ability, Sampler)
    alone = jax.vmap(single, axis_name=AXIS if sampling else None)

    # Unchecked, as what runs on one device need not tell what differs between several.
    two = jax.sharding.AbstractMesh((2,), (AXIS,))
    options = {"in_specs": P(AXIS), "out_specs": P(AXIS), "check_vma": False}
    spread = jax.shard_map(run, mesh=two, **options)
    jaxpr = str(jax.make_jaxpr(spread)(*_shapes(inputs, 2)))
    whole = re.search(r"\b(psum\w*|all_gather\w*)\[", jaxpr)
    notes = [f"its noise is that of seed {seed} at every call"] if "random_bits[" in jaxpr else []
    if whole and sampling:
        notes.append(f"its networks look at the whole batch, which is of {batch} images")
        return _lower(run, _shapes(inputs, batch), platforms), notes
    if whole:
        notes.append("its networks use the statistics of each image by itself")
    free = [(_shapes(inputs, "b"), [])]
    if not sampling and ability.any_size:
        any_size = _shapes(inputs, "b", ability.multiple)
        free = [(any_size, []), (free[0][0], ["its images have the training's size"])]
    for shapes, said in free:
        with suppress(Exception):  # whatever a network makes of a size that is left open
            return _lower(alone, shapes, platforms), notes + said
    notes.append(f"it takes {batch} images at a time, of the training's size")
    return _lower(alone, _shapes(inputs, batch), platforms), notes


def _lower(f, shapes, platforms):
    try:
        return jax_export.export(jax.jit(f), platforms=platforms)(*shapes)
    except NotImplementedError as error:
        raise UserError(
            f"platforms lack what the program needs ({error}); leave some out"
        ) from None


def _shapes(inputs, n, multiple=None):
    """What `n` examples are, a number or "b"; with a `multiple`, of images of any size."""
    scope = jax_export.SymbolicScope(["h >= 2", "w >= 2"] if multiple else [])

    def shape(x):
        sides = x.shape
        if multiple and sides[:2] == inputs[0].shape[:2]:
            sides = (f"{multiple}*h", f"{multiple}*w", *sides[2:])
        sides = jax_export.symbolic_shape(", ".join(map(str, (n, *sides))), scope=scope)
        return jax.ShapeDtypeStruct(sides, x.dtype)

    return [shape(x) for x in inputs]


def _described(aval, of):
    shape = [side if isinstance(side, int) else str(side) for side in aval.shape]
    return {"shape": shape, "dtype": str(aval.dtype), "range": of}


def _example(path, inputs, exported):
    """Lines of Python that run the program."""
    n = exported.in_avals[0].shape[0]
    n = n if isinstance(n, int) else 16
    return [
        "import numpy as np",
        "from jax import export",
        f'program = export.deserialize(open("{path.name}", "rb").read())',
        *(f'{x.name} = {x.numpy.format((n, *x.shape))}.astype("{x.dtype}")' for x in inputs),
        f"images = program.call({', '.join(x.name for x in inputs)})",
    ]
