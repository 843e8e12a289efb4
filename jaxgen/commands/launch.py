"""From a command line to a finished run: `python -m jaxgen.experiments.NAME [flags]`.

An experiment is a module with a dataclass `Args` (its flags; their docstrings are the help) and a
function `system(args, data)`: a System, or a list of Stages; it may look at `data.shape` and
`data.examples(n)`.  Nothing here imports JAX before the arguments and the data are right.
"""

import ctypes
import dataclasses
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxgen.commands.arguments import parse
from jaxgen.commands.terminal import one_line
from jaxgen.errors import UserError

CAPTIONS = 50_000  # of which a vocabulary is learned, at most
VOCABULARY = "merges.txt"  # in the folder of a run that reads captions


def launch(system: Callable[[Any, Any], Any]) -> None:
    """Runs the experiment whose module defines `system`, as a command: ends the process."""
    name = module_name(system)
    with one_line(name.rpartition(".")[2]):
        args = parse(importlib.import_module(system.__module__).Args, name, sys.argv[1:])
        train(name, system, args)


def module_name(system: Callable) -> str:
    """The experiment's importable name, also where it runs as `__main__`."""
    if system.__module__ != "__main__":
        return system.__module__
    spec = sys.modules["__main__"].__spec__
    return spec.name if spec else Path(sys.argv[0]).stem


def train(name: str, system: Callable, args: Any) -> None:
    """Trains with parsed arguments in `args.workdir`, to the end or to where a signal stops it."""
    data = load_data(args)
    if missing := set(args.needs) - set(data[0]):
        raise UserError(
            f"{name.rpartition('.')[2]} learns from {' and '.join(args.needs)}, but {args.data} "
            f"has {' and '.join(k for k in data[0] if k in ('image', 'a', 'b'))} (no "
            f"{' and '.join(sorted(missing))}); use another --data"
        )
    start_jax(args.multihost or "JAX_COORDINATOR_ADDRESS" in os.environ)
    import jax

    from jaxgen.train.fit import fit
    from jaxgen.train.run import FREE, Run, environment
    from jaxgen.train.stages import Stage, fit_stages, folders

    built = system(args, data)
    written = {"experiment": name, **dataclasses.asdict(args)}
    free = FREE if args.rounds_matter else FREE | {"rounds"}
    schedule = args.schedule
    if args.evaluate_every:
        from jaxgen.commands.evaluate import in_training

        schedule["evaluate"] = in_training(args.evaluate_metrics, args.evaluate_samples)
    lead = jax.process_index() == 0
    with Run(args.workdir, written, environment(data.fingerprint), lead, free) as run:
        if lead and data.tokenize:
            data.tokenize.save(args.workdir / VOCABULARY)
        if isinstance(built, list) and isinstance(built[0], Stage):
            options = {k: v for k, v in schedule.items() if k != "batch_size"}
            fit_stages(built, run=run, **options)  # each stage has a batch size of its own
            last = args.workdir / folders(built)[-1]
        else:
            fit(built, data, args.rounds, run=run, **schedule)
            last = args.workdir
    if lead:
        from jaxgen.commands.report import report

        page = report(args.workdir)
        print(f"pictures     {last / 'samples'}")
        print(f"metrics      {last / 'metrics.jsonl'}")
        print(f"checkpoints  {last / 'checkpoints'}")
        print(f"report       {page}")


def load_data(args, split: str = "train"):
    """The data that the arguments name."""
    from jaxgen.data.pipeline import load

    options = {
        "size": args.size,
        "channels": args.channels,
        "crop": args.crop,
        "resample": args.resample,
        "flip": args.flip,
        "random_crop": args.random_crop,
        "held_out": args.held_out,
    }

    def captions():
        return load(args.data, split="train", resident="no", **options).all_captions(CAPTIONS)

    tokenize = args.tokenizer(captions)
    return load(args.data, split=split, resident=args.resident, tokenize=tokenize, **options)


def keep_memory() -> None:
    """Lets the process keep what it frees, where XLA is to compute on the CPU; before JAX starts.

    XLA asks for its scratch memory anew at each call, and glibc would fetch it from the system,
    page by page, and give it back: a seventh of the time of a DCGAN round (64 px, batch 128).
    """
    accelerators = map(importlib.util.find_spec, ("jax_plugins", "libtpu"))
    if any(accelerators) and os.environ.get("JAX_PLATFORMS") != "cpu":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:  # glibc
        trim_threshold, mmap_max, arena_max = -1, -4, -8  # as malloc.h numbers them
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)
        mallopt(arena_max, 1)


def start_jax(multihost: bool = False) -> None:
    """Imports JAX with a persistent compilation cache, and joins the cluster if asked to.

    No usable device is a UserError.
    """
    keep_memory()
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        from jaxgen.files import cache_folder

        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    if multihost:
        from jaxgen.train.devices import start_processes

        start_processes()
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # a platform that is missing, or none left
        reason = str(error).split("\n")[0] or f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')}"
        raise UserError(f"JAX has no device to run on ({reason}); check JAX_PLATFORMS") from error
