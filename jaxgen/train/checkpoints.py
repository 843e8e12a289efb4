"""Checkpoints: every player's state and the position in the data, saved while training goes on.

Orbax writes them: one folder a round, one item a player and the item `position`. A checkpoint is
either whole or not there (it is renamed into place at the end), so a run may be killed at any
moment. Orbax restores arrays with flipped bits without a word; so each checkpoint holds a digest of
each of its files, compared before anything is restored.
"""

import errno
import json
import logging
import os
from collections.abc import Callable
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jaxgen.errors import UserError
from jaxgen.progress import say

DIGESTS = "digests.json"  # the last file of a checkpoint to be written, before the rename
LATER = {"_CHECKPOINT_METADATA", "commit_success.txt"}  # Orbax changes these after that; unneeded


def saved_rounds(folder: Path) -> list[int]:
    """The rounds of the finished checkpoints in `folder`, ascending (digests are not compared)."""
    return [r for r in _numbered(folder) if (folder / str(r) / DIGESTS).is_file()]


def cannot_write(what: str, reason: str | OSError, where: Path, checkpoints: Path) -> UserError:
    """The one line that a full or closed disk ends a run with."""
    reason = reason.strerror or str(reason) if isinstance(reason, OSError) else reason
    rounds = saved_rounds(checkpoints)
    safe = f"from round {rounds[-1]}, whose checkpoint is safe" if rounds else "from the start"
    return UserError(
        f"{what} ({reason}: {where}); make room there, make it writable or use another run folder; "
        f"with the same command it goes on {safe}"
    )


class Checkpoints:
    """The checkpoints in `folder`, of which the newest `keep` stay.

    With several processes all of them make the same calls and see the same files; process 0 alone
    writes what is not an array. `report` takes one line a damaged checkpoint. With `write=False`
    (reading another run, which may be running) nothing in the folder changes.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 3,
        *,
        write: bool = True,
        report: Callable[[str], Any] = say,
    ):
        if keep < 1:
            raise UserError(f"keep={keep}: at least 1 checkpoint must be kept")
        self.folder, self.write, self.report = Path(folder).absolute(), write, report
        self._damaged: set[int] = set()
        self._saving: int | None = None
        with self._disk("the folder of checkpoints cannot be made"):
            self._manager = _manager(self.folder, keep, write, self._finish)

    def rounds(self) -> list[int]:
        """The rounds that are saved, ascending, without those found to be damaged."""
        return [r for r in saved_rounds(self.folder) if r not in self._damaged]

    def save(self, round: int, states: dict[str, Any], position: dict, wait: bool = False) -> None:
        """Saves `states` (player -> pytree of arrays) and `position` (JSON) as of `round`.

        Returns once the arrays are copied from the devices, so that they may be donated; with
        `wait`, once the checkpoint is safe on the disk. A round that is saved already is left as it
        is. A full disk is a UserError, here or, when not waited for, at the next call.
        """
        from orbax.checkpoint import args

        with self._disk():
            if round not in self._manager.all_steps():  # the same on every process
                about = {"round": round, "players": _shapes(states), "position": position}
                items = {
                    _item(player): args.StandardSave(state) for player, state in states.items()
                }
                self._manager.wait_until_finished()  # _finish must know whose files it reads
                self._saving = round
                composite = args.Composite(position=args.JsonSave(about), **items)
                self._manager.save(round, args=composite, force=True)
            if wait:
                self._manager.wait_until_finished()

    def restore(
        self, like: dict[str, Any], *, round: int | None = None, partial: bool = False
    ) -> tuple[int, dict[str, Any], dict] | None:
        """The newest checkpoint that is whole: (round, states, position), or None if there is none.

        `like` holds a state a player on its devices; the arrays come back in its structure and with
        its shardings, wherever they lived when they were saved. `partial`: `like` may lack players.
        `round` asks for that checkpoint alone. A damaged checkpoint is reported and moved aside, to
        `<round>.damaged`, and the one before it is taken. One of other networks is a UserError.
        What fails though the files are whole (memory, Orbax's version) is no damage, and raised.
        """
        with self._disk("the checkpoints cannot be read"):
            self._manager.wait_until_finished()
            if (found := self._newest(round)) is not None:
                return found, *self._read(found, like, partial)
        if round is not None:
            raise UserError(
                f"{self.folder} has no whole checkpoint of round {round}; it has "
                f"{', '.join(map(str, self.rounds())) or 'none'}"
            )
        return None

    def wait(self) -> None:
        """Waits for the last save to be on the disk."""
        with self._disk():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the last save, and ends."""
        with self._disk():
            self._manager.close()

    def _newest(self, only: int | None) -> int | None:
        """The newest round whose files are what they were, the same on every process."""
        found = -1
        if _process() == 0:
            for r in reversed(_numbered(self.folder) if only is None else [only]):
                if r in self._damaged or not (self.folder / str(r)).is_dir():
                    continue
                damage = _damage(self.folder / str(r))
                if damage is None:
                    found = r
                    break
                self._aside(r, damage)
        if _processes() > 1:
            import numpy as np
            from jax.experimental.multihost_utils import broadcast_one_to_all

            found = int(broadcast_one_to_all(np.int32(found)))
        self._manager.reload()
        return None if found < 0 else found

    def _read(self, round: int, like: dict[str, Any], partial: bool) -> tuple[dict, dict]:
        import jax
        from orbax.checkpoint import args

        only = args.Composite(position=args.JsonRestore())
        about: Any = self._manager.restore(round, args=only)
        players, here = about.position["players"], _shapes(like)
        if partial:
            players = {name: shapes for name, shapes in players.items() if name in here}
        if difference := _difference(players, here):
            raise UserError(
                f"the checkpoint of round {round} in {self.folder} is of other networks: "
                f"{difference}; use another run folder, or go back to the old settings"
            )
        items = {_item(player): args.StandardRestore(state) for player, state in like.items()}
        states = self._manager.restore(round, args=args.Composite(**items))
        return (
            jax.block_until_ready({player: states[_item(player)] for player in like}),
            about.position["position"],
        )

    def _finish(self) -> None:
        """Digests the checkpoint that is about to be renamed (in Orbax's thread, on process 0)."""
        if _process() != 0:
            return
        path = next(self.folder.glob(f"{self._saving}.*tmp*"), self.folder / str(self._saving))
        with open(path / DIGESTS, "w") as file:
            json.dump(_digests(path), file, indent=0)
            file.flush()
            os.fsync(file.fileno())

    def _aside(self, round: int, damage: str) -> None:
        path, n = self.folder / str(round), 1
        self._damaged.add(round)
        if not self.write:
            self.report(f"checkpoint {path} is damaged ({damage}) and passed over")
            return
        while (aside := path.with_name(f"{round}.damaged{'' if n == 1 else n}")).exists():
            n += 1
        path.rename(aside)
        self._damaged.remove(round)
        self.report(f"checkpoint {path} is damaged ({damage}); it is now {aside.name}")

    @contextmanager
    def _disk(self, what: str = ""):
        """Turns what the disk refuses, in Orbax's many dresses, into one line."""
        try:
            yield
        except Exception as error:
            if isinstance(error, UserError) or (reason := _refusal(error)) is None:
                raise
            what = what or f"the checkpoint of round {self._saving} cannot be written"
            raise cannot_write(what, reason, self.folder, self.folder) from error


def _manager(folder: Path, keep: int, write: bool, finish: Callable[[], None]):
    import orbax.checkpoint as ocp  # takes half a second, so not before a run starts
    from absl.logging import get_absl_logger
    from orbax.checkpoint.checkpoint_managers import LatestN

    # It logs each failure with a page of traceback, and raises it too: the latter is enough.
    get_absl_logger().addFilter(_not_orbax)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=LatestN(keep),
        create=write,
        cleanup_tmp_directories=write,  # what a killed run left unfinished
        save_root_metadata=False,
        enable_background_delete=True,
        async_options=ocp.options.AsyncOptions(post_finalization_callback=finish),
    )
    return ocp.CheckpointManager(folder, options=options)


def _not_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _item(player: str) -> str:
    return f"player_{player}"  # so that no player's name meets `position` or a file of Orbax


def _numbered(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def _digests(path: Path) -> dict[str, str]:
    found = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path).as_posix()
        if file.is_file() and name not in LATER and name != DIGESTS:
            digest = blake2b(digest_size=16)
            with open(file, "rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
            found[name] = digest.hexdigest()
    return found


def _damage(path: Path) -> str | None:
    """What is wrong with the files of the checkpoint at `path`, or None."""
    try:
        then = json.loads((path / DIGESTS).read_text())
    except (FileNotFoundError, ValueError):
        return f"{DIGESTS} is missing or broken"
    now = _digests(path)
    changed = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    if not changed:
        return None
    how = "missing" if changed[0] not in now else "new" if changed[0] not in then else "changed"
    more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]} is {how}{more}"


def _shapes(states: dict[str, Any]) -> dict[str, dict[str, str]]:
    """{player: {path of the array: "float32[3,4]"}}."""
    import jax

    def shape(x) -> str:
        return f"{x.dtype}[{','.join(map(str, x.shape))}]"

    return {
        player: {jax.tree_util.keystr(path): shape(x) for path, x in leaves}
        for player, state in states.items()
        for leaves in [jax.tree_util.tree_flatten_with_path(state)[0]]
    }


def _difference(there: dict, here: dict) -> str | None:
    for player in sorted({*there, *here}):
        if player not in here:
            return f"player {player!r} is only in the checkpoint"
        if player not in there:
            return f"player {player!r} is not in the checkpoint"
        # The weights first: what differs in them differs in their optimizer's state too.
        paths = {*there[player], *here[player]}
        for path in sorted(paths, key=lambda path: ("params" not in path, path)):
            old, new = there[player].get(path, "missing"), here[player].get(path, "missing")
            if old != new:
                return f"player {player!r}, {path}: {old} in the checkpoint, {new} here"
    return None


def _refusal(error: Exception) -> str | None:
    """What the disk said, if it is the disk that failed (TensorStore raises ValueError)."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    codes = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS
    return next((text for text in map(os.strerror, codes) if text in str(error)), None)


def _process() -> int:
    import jax

    return jax.process_index()


def _processes() -> int:
    import jax

    return jax.process_count()
