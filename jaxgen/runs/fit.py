"""From a system and data to a trained run, in a folder that can be gone on with."""

from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxgen.data.source import Data, to_program
from jaxgen.errors import UserError
from jaxgen.runs.trained import TrainedRun
from jaxgen.train import nets
from jaxgen.train.fit import drain
from jaxgen.train.fit import iterate as play
from jaxgen.train.game import Sweep, System
from jaxgen.train.run import FREE, PLACES, Run, environment, sweep_text
from jaxgen.train.stages import Stage, check_sweep, folders, iterate_stages

Systems = System | list[Stage]


def fit(
    system: Systems | Callable[..., Systems], data: Data, rounds: int = 10_000, **options
) -> TrainedRun:
    """Trains `system` (or stages, one after the other) on `data` and returns the trained run; for
    the options see `iterate`."""
    return drain(iterate(system, data, rounds, **options))


def iterate(
    system: Systems | Callable[..., Systems],
    data: Data,
    rounds: int = 10_000,
    *,
    batch_size: int = 64,
    run: Path | str | None = None,
    seed: int = 0,
    seeds: int = 1,
    sweep: Mapping[str, Sequence[float]] | None = None,
    evaluate: Sequence[str] = (),
    evaluate_every: int = 0,
    evaluate_samples: int = 1000,
    log: Callable[[dict[str, Any]], Any] | None = None,
    record: Mapping[str, Any] | None = None,
    free: frozenset[str] = FREE | {"rounds"},
    places: frozenset[str] = PLACES,
    **options,
) -> Generator[dict[str, Any], None, TrainedRun]:
    """Trains like `fit`, and yields each record of metrics on the way.  A caller that breaks off
    leaves a checkpoint of the last round.

    rounds: a round is one pass through the system's turns; stages have rounds of their own.
    batch_size: examples of a minibatch, over all devices together; 0 is the whole data, or as much
      of it as they can share evenly.
    run: its folder; the same call again goes on where it stopped, bit for bit.  None writes
      nothing.
    evaluate, evaluate_every, evaluate_samples: metrics that are scored in every so many rounds.
    log: a function of each record, {"round": ..., "images": ..., "turn/metric": ...}.
    seeds: copies that are trained side by side, in one program; see `jaxgen.train.fit.iterate`.
    sweep: one name and several values, such as {"lr": [1e-4, 2e-4]}: copies of one seed that are
      trained side by side, each of its value's system; `system` is then a function of the number,
      by that name.  The number may not decide how a system is built.
    record: what args.json says of the run; by default rounds, batch size, seed, and seeds or sweep.
    free: what of that may change when the run goes on; places: what may while the data's
      fingerprint does not, as it says where the data lies.
    options: of `jaxgen.train.fit.iterate`: precision, accumulate, remat, rounds_per_call,
      log_every, sample_every, save_every, keep, mesh.

    Raises UserError, Diverged where a loss stops being finite, Stopped where a signal has ended the
    run.
    """
    own_sweep = None
    if sweep is not None:
        if len(sweep) != 1 or not all(isinstance(x, Sequence) for x in sweep.values()):
            raise UserError('a sweep is one name with its values, such as {"lr": [1e-4, 2e-4]}')
        ((number, values),) = sweep.items()
        build: Any = system
        own_sweep = Sweep(number, tuple(values), lambda value: build(**{number: value}))
        if seeds > 1:
            raise UserError("a sweep has one seed; leave seeds out")
        examples = lambda n: to_program(data.examples(n), data.info.fields)
        check_sweep(own_sweep, examples, batch_size or data.info.examples)
        seeds, system = len(own_sweep.values), own_sweep.system(0)
    whole: Any = system
    options |= {"batch_size": batch_size, "seed": seed, "seeds": seeds, "log": log}
    options |= {"sweep": own_sweep}
    stages = whole if isinstance(whole, list) else None
    last = stages[-1].system if stages else whole
    if evaluate_every:
        from jaxgen.evaluate.training import in_training

        name = (record or {}).get("experiment", "this system").rpartition(".")[2]
        options["evaluate"] = in_training(
            *(evaluate, last, data, evaluate_samples, run, name),
            copy=0 if seeds > 1 else None,
            value=own_sweep and own_sweep.label(0),
        )
        options["evaluate_every"] = evaluate_every
    several = range(seeds) if seeds > 1 else ()
    of_last = own_sweep and (own_sweep.stage(len(stages) - 1) if stages else own_sweep)
    own = lambda states: {
        "copies": [nets.local(states, i) for i in several],
        "sweep": of_last,
    }
    if run is None:
        states = yield from _play(system, data, rounds, options)
        return TrainedRun(last, nets.local(states), data.info, rounds, data=data, **own(states))
    run = Path(run)
    if not record:
        record = {"rounds": rounds, "batch_size": batch_size, "seed": seed}
        record |= {"seeds": seeds} if seeds > 1 and not sweep else {}
        record |= {"sweep": sweep_text(own_sweep.name, own_sweep.values)} if own_sweep else {}
    lead = jax.process_index() == 0
    session = environment(getattr(data, "fingerprint", None))
    with Run(run, record, session, data.info.to_json(), lead, free, places) as opened:
        states = yield from _play(system, data, rounds, options | {"run": opened})
    folder = run / folders(stages)[-1] if stages else run
    name = record.get("experiment", "").rpartition(".")[2] or run.resolve().name
    reached = stages[-1].rounds if stages else rounds
    about = {"data": data, **own(states)}
    return TrainedRun(last, nets.local(states), data.info, reached, name, folder, **about)


def _play(system, data, rounds, options):
    if isinstance(system, list):
        return iterate_stages(system, data, **options)
    return play(system, data, rounds, **options)
