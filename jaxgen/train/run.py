"""The run folder: what ran, with which versions, its metrics and its pictures."""

import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxgen.data.reading import content
from jaxgen.errors import UserError
from jaxgen.files import replacing
from jaxgen.train.checkpoints import DIGESTS, cannot_write, saved_rounds

# What may change when a run goes on: it says where, how often to look and how fast to go. (How many
# rounds a program plays changes how it is compiled, and with it the last bits of the weights.) A
# run whose schedule does not depend on its length may add "rounds".
FREE = frozenset(
    {
        "workdir",
        "out",
        "recipe",
        "log_every",
        "sample_every",
        "save_every",
        "keep",
        "rounds_per_call",
        "resident",
        "multihost",
        "plan",
        "evaluate_every",
        "evaluate_metrics",
        "evaluate_samples",
    }
)

PLACES = frozenset({"data"})  # arguments that say where the data lies, by default

VERSIONS = ("jaxgen", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def sweep_text(name: str, values: Iterable[float]) -> str:
    """A sweep as a run records it, such as lr=0.0001,0.0002."""
    return f"{name}={','.join(repr(float(value)) for value in values)}"


def read_sweep(text: str) -> tuple[str, tuple[float, ...]]:
    """The name and the values of such a text; ValueError."""
    name, equals, values = text.partition("=")
    if not equals or not name:
        raise ValueError(text)
    return name.strip().replace("-", "_"), tuple(float(value) for value in values.split(","))


def _one_form(args: dict[str, Any]) -> dict[str, Any]:
    """The arguments with their sweep as `sweep_text` has it, however it was written."""
    return args | {"sweep": sweep_text(*read_sweep(args["sweep"]))} if args.get("sweep") else args


def environment(data_fingerprint: str | None = None) -> dict[str, Any]:
    """This session: when, by which command and versions, on which devices and data."""
    import jax

    import jaxgen

    device = jax.devices()[0]
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "commit": _commit(),
        "data_fingerprint": data_fingerprint,
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": jax.device_count(),
        "processes": jax.process_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: jaxgen.__version__ if name == "jaxgen" else version(name) for name in VERSIONS},
    }


class Run:
    """The folder of one run, to be entered: `with Run(workdir, args, environment()) as run`.

    data: what its system was told of its data, for data.json.

    A folder that holds a run is gone on with, if the arguments (but for those named in `free`) and
    the data's fingerprint are those it was started with; it belongs to one process at a time. Those
    named in `places` say where the data lies: of them the fingerprint alone decides. Of a Path to a
    file its contents decide. With `write=False` (processes other than 0) nothing is touched. What
    cannot be written, for a full disk or a lack of permission, is a UserError.
    """

    def __init__(
        self,
        workdir: Path,
        args: dict[str, Any],
        environment: dict[str, Any],
        data: dict[str, Any] | None = None,
        write: bool = True,
        free: frozenset[str] = FREE,
        places: frozenset[str] = PLACES,
    ):
        self.folder, self.write, self._free, self._places = Path(workdir), write, free, places
        self.name = args.get("stage")  # what the progress line calls it
        self._args, self._session = _one_form(_plain(args)), _plain(environment)
        paths = {name: x for name, x in _flat(args).items() if isinstance(x, Path)}
        self._paths = {name: x for name, x in paths.items() if name not in free | places}
        self._data = data
        self._open = ExitStack()
        self._events = None
        self._rewound: int | None = None

    def __enter__(self) -> "Run":
        refused = None
        if self.write:
            try:
                with self._open:
                    self._lock()
                    self._begin()
                    self._open = self._open.pop_all()  # nothing failed: all stays open
            except UserError as error:
                refused = error
        if _any_process(refused is not None):  # all go on, or none
            raise refused or UserError("process 0 cannot open the run folder; it says why")
        return self

    def __exit__(self, *_) -> None:
        with suppress(OSError):  # every record was flushed, and its failure told
            self._open.close()

    def stage(self, name: str) -> "Run":
        """The run of one stage of several, in a folder of that name; it closes with this run."""
        args = {**self._args, "stage": name}
        whose = (self.write, self._free, self._places)
        run = Run(self.folder / name, args, self._session, None, *whose)
        return self._open.enter_context(run)

    def log(self, record: dict[str, Any]) -> None:
        """One line of `metrics.jsonl`, and TensorBoard's scalars; `record["round"]` is the step.

        The numbers may be NumPy's or JAX's scalars. One that is not finite is a
        FloatingPointError that names it: such a run is to stop before it logs.
        """
        if not self.write:
            return
        numbers = {name: _number(name, value) for name, value in record.items()}
        with self._writing("metrics.jsonl"), open(self.folder / "metrics.jsonl", "a") as file:
            file.write(json.dumps(numbers, allow_nan=False) + "\n")
        from tensorboardX import summary

        scalars = (summary.scalar(name, x) for name, x in numbers.items() if name != "round")
        self._tensorboard(numbers["round"], scalars)

    def last(self) -> dict[str, Any] | None:
        """The last record of `metrics.jsonl`."""
        records = _records(self.folder / "metrics.jsonl")
        return records[-1] if records else None

    def rewind(self, round: int) -> None:
        """Forgets the metrics and pictures of later rounds, and a line that is half-written."""
        if not self.write:
            return
        self._rewound = round
        for picture in (self.folder / "samples").glob("round_*.png"):
            if int(picture.stem.split("_")[1]) > round:
                picture.unlink()
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return
        kept = [json.dumps(r) + "\n" for r in _records(path) if r["round"] <= round]
        with self._writing("metrics.jsonl"), replacing(path) as temporary:
            temporary.write_text("".join(kept))

    def examples(self, images: dict[str, Any]) -> None:
        """Some images of the data as grids, `data.png`, or `data_<name>.png` where there are
        several kinds; what is there already stays."""
        if not self.write:
            return
        from jaxgen.pictures import grid, save_png

        for name, entry in images.items():
            path = self.folder / (f"data_{name}.png" if len(images) > 1 else "data.png")
            if not path.exists():
                with self._writing(path.name):
                    save_png(path, grid(entry))

    def picture(
        self, round: int, images: dict[str, Any], legends: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Each entry, [N,H,W,C] uint8 or in [-1, 1], as a grid in `samples/`.

        The file is `round_00001000.png`, or `round_00001000_<name>.png` where there are several.
        legends: what a picture shows, by its name; kept in the file.
        """
        if not self.write:
            return
        import numpy as np
        from tensorboardX import summary

        from jaxgen.pictures import grid, save_png

        grids = {name: grid(entry) for name, entry in images.items()}
        for name, sheet in grids.items():
            file = f"round_{round:08d}{f'_{name}' if len(grids) > 1 else ''}.png"
            with self._writing(f"samples/{file}"):
                (self.folder / "samples").mkdir(exist_ok=True)
                save_png(self.folder / "samples" / file, sheet, legends.get(name, ""))
        self._tensorboard(
            round,
            (
                summary.image(name, np.asarray(sheet.convert("RGB")), dataformats="HWC")
                for name, sheet in grids.items()
            ),
        )

    def _lock(self) -> None:
        from filelock import FileLock, Timeout

        with self._writing("the run folder"):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._open.enter_context(FileLock(self.folder / ".lock", timeout=0))
            except Timeout:
                raise UserError(
                    f"another run is at work in {self.folder}; wait for it or stop it, or use "
                    "another run folder"
                ) from None

    def _begin(self) -> None:
        sessions: list[dict] = []
        if files := {name: content(path) for name, path in self._paths.items() if path.is_file()}:
            self._session["files"] = files
        # Before its first checkpoint a run has nothing to lose: a mistake is mended in place.
        if any(self.folder.rglob(DIGESTS)):
            sessions = _read(self.folder / "environment.json") or []
            if (args := _read(self.folder / "args.json")) is None:
                raise UserError(
                    f"{self.folder} has checkpoints but no args.json, which says what they are of; "
                    "bring it back, or use another run folder"
                )
            self._session |= self._agree(args, sessions)
        self._number = len(sessions)
        with self._writing("args.json, environment.json and data.json"):
            contents = {"environment.json": [*sessions, self._session]}
            if self._data is not None:
                contents["data.json"] = self._data
            contents["args.json"] = self._args  # last: a folder with it is a run's
            for name, said in contents.items():
                with replacing(self.folder / name) as temporary:
                    temporary.write_text(json.dumps(said, indent=2) + "\n")

    def _agree(self, args: dict, sessions: list[dict]) -> dict[str, Any]:
        """Refuses what may not change; what may and did goes into the session."""
        then, now = _flat(_one_form(args)), _flat(self._args)
        changed = {
            name: [then.get(name), now.get(name)]
            for name in {**then, **now}
            if (name in then, then.get(name)) != (name in now, now.get(name))
        }
        prints = [s["data_fingerprint"] for s in sessions if s.get("data_fingerprint")]
        mine = self._session.get("data_fingerprint")
        same = bool(prints and mine) and prints[-1] == mine
        free = self._free | self._places if same else self._free
        kept = {name: x for session in sessions for name, x in session.get("files", {}).items()}
        here = self._session.get("files", {})
        alike = {name: kept[name] == here[name] for name in kept.keys() & here.keys()}
        wrong = [
            f"{name} was {_said(name, then)} and is now {_said(name, now)}"
            for name, values in changed.items()
            if name.split(".")[0] not in free and name not in alike and not _one_place(*values)
        ]
        wrong += [
            f"{name} is now {_said(name, now)}, with other contents than {_said(name, then)} had"
            for name in sorted(alike)
            if not alike[name]
        ]
        if wrong:
            raise UserError(
                f"{self.folder} holds a run with other arguments: {'; '.join(wrong)}. Use another "
                "run folder, or go back to the old values to go on with that run"
            )
        if prints and mine and not same:
            raise UserError(
                f"{self.folder} holds a run on other data: its fingerprint was {prints[-1]} and "
                f"is now {mine}. Use another run folder, or bring the old data back to go on with "
                "that run"
            )
        return {"changed": changed} if changed else {}

    def _tensorboard(self, step: int, summaries: Iterable[Any]) -> None:
        # Not SummaryWriter: its thread dies of a full disk, and the next flush waits for ever.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore

        with self._writing("TensorBoard's events"):
            if self._events is None:
                self._events = EventsWriter(str(self.folder / "events"), f".{self._number}")
                self._open.callback(self._events.close)
                if self._number and self._rewound is not None:  # forget the rounds played again
                    start = SessionLog(status=SessionLog.START)
                    event = Event(wall_time=time.time(), step=self._rewound + 1, session_log=start)
                    self._events.write_event(event)
            values = [value for summary in summaries for value in summary.value]
            event = Event(wall_time=time.time(), step=step, summary=Summary(value=values))
            self._events.write_event(event)
            self._events.flush()

    @contextmanager
    def _writing(self, what: str):
        try:
            yield
        except OSError as error:
            what = f"{what} cannot be written"
            raise cannot_write(what, error, self.folder, self.folder / "checkpoints") from error


class RunRecord(NamedTuple):
    """What a run folder holds."""

    workdir: Path
    args: dict[str, Any]
    environment: list[dict[str, Any]]
    """One entry a session, in order."""
    metrics: list[dict[str, Any]]
    samples: dict[str, list[tuple[int, Path]]]
    """{name: [(round, PNG), ...]}; the name is empty where a round has one picture."""
    rounds: list[int]
    """The rounds of the checkpoints."""

    def seeds(self, copy: int | None = None) -> int:
        """How many copies were trained side by side, of several seeds or of a sweep's values;
        UserError for a copy that is none of them."""
        sweep = self.args.get("sweep")
        seeds = len(read_sweep(sweep)[1]) if sweep else self.args.get("seeds", 1)
        if seeds == 1 and copy:
            raise UserError(
                f"copy is for runs of several seeds, and {self.workdir} has one; leave it out"
            )
        if not 0 <= (copy or 0) < seeds:
            raise UserError(f"copy is from 0 to {seeds - 1} in {self.workdir}, not {copy}")
        return seeds


def read_run(workdir: Path) -> RunRecord:
    """Reads a run folder, also of a run at work; UserError if it is none."""
    workdir = Path(workdir)
    if not (workdir / "args.json").is_file():
        raise UserError(
            f"{workdir} is not a run folder (it has no args.json); give the folder of a run, "
            "for example runs/wgan"
        )
    samples: dict[str, list[tuple[int, Path]]] = {}
    for path in sorted((workdir / "samples").glob("round_*.png")):
        _, round, *name = path.stem.split("_", 2)
        if round.isdigit():
            samples.setdefault(name[0] if name else "", []).append((int(round), path))
    return RunRecord(
        workdir,
        _read(workdir / "args.json"),
        _read(workdir / "environment.json") or [],
        _records(workdir / "metrics.jsonl"),
        samples,
        saved_rounds(workdir / "checkpoints"),
    )


def _records(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines."""
    records = []
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:  # half a line
                continue
    return records


def _read(path: Path) -> Any:
    """The JSON in a file; None if there is no file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(
            f"{path} is not JSON any more ({error}); mend it or use another run folder"
        ) from error


def _number(name: str, value: Any) -> int | float:
    """A Python number, shortest in print: float32's 0.1 is 0.1, not 0.10000000149011612."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        import numpy as np

        value = np.asarray(value)[()]
        if isinstance(value, np.integer | np.bool_):
            return int(value)
        value = float(str(value))
    if not math.isfinite(value):
        raise FloatingPointError(f"{name} is {value}")
    return value


def _plain(content: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(content, default=str))


def _flat(args: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in args.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _said(name: str, args: dict[str, Any]) -> str:
    return json.dumps(args[name]) if name in args else "absent"


def _one_place(one: Any, other: Any) -> bool:
    """True for two texts that name one file: w.npz, ./w.npz, /home/me/w.npz."""
    texts = isinstance(one, str) and isinstance(other, str)
    return texts and os.path.abspath(one) == os.path.abspath(other)


def _any_process(said: bool) -> bool:
    """Whether any process of the run says so."""
    import jax

    if jax.process_count() == 1:
        return said
    import numpy as np
    from jax.experimental.multihost_utils import process_allgather

    return bool(process_allgather(np.asarray(said)).any())


def _commit() -> str | None:
    """The git commit of the current folder, with `+changes` if files differ from it."""
    git = ["git", "--no-optional-locks"]
    try:
        run = dict(capture_output=True, text=True, timeout=10, check=True)
        commit = subprocess.run([*git, "rev-parse", "HEAD"], **run).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], **run).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changes" if changed else "")
