"""A trained run: a system with its weights, and what can be done with them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import jax
import numpy as np

from jaxgen.data.source import DataInfo, to_float
from jaxgen.errors import UserError
from jaxgen.train.abilities import Autoencoder
from jaxgen.train.game import Player, Sweep, System
from jaxgen.train.nets import PlayerState, averaged, bind

Ability = TypeVar("Ability")


@dataclasses.dataclass(frozen=True)
class TrainedRun:
    """A trained system, ready to be used; `jaxgen.load` and `jaxgen.fit` give it.

    Images go in and come out as uint8 [n, H, W, C].  Voxels come out as uint8 [n, D, H, W], 255
    times the probability that each is filled.  What a system has no ability for is a UserError that
    says so.

    states: by player; the averaged weights are used where there are any.
    copies: the states of each seed, or of each of a sweep's values, where several were trained side
      by side; `states` are those of one of them, and scores are means over all seeds.
    copy: the number of the seed, from 0, where one of several was chosen.
    sweep: of what value each copy is, where they are of one seed; each is scored by itself.
    value: of a sweep the value of the copy that was chosen, such as lr=0.001.
    ahead: the names of the stages that are still to be trained.
    info: what the system was told of its training data.
    round: of the checkpoint.
    name: of the experiment, or of the run's folder.
    folder: None where nothing was written.
    args: the experiment's arguments; None for a system of one's own.
    data: what it was trained on, where `fit` has just done so; scores are measured against it.
    """

    system: System = dataclasses.field(repr=False)
    states: Mapping[str, PlayerState] = dataclasses.field(repr=False)
    info: DataInfo = dataclasses.field(repr=False)
    round: int
    name: str = "run"
    folder: Path | None = None
    args: Any = dataclasses.field(default=None, repr=False)
    data: Any = dataclasses.field(default=None, repr=False)
    copies: Sequence[Mapping[str, PlayerState]] = dataclasses.field(default=(), repr=False)
    copy: int | None = None
    sweep: Sweep | None = dataclasses.field(default=None, repr=False)
    value: str | None = dataclasses.field(default=None, repr=False)
    ahead: Sequence[str] = dataclasses.field(default=(), repr=False)

    def nets(self, seed: int = 0) -> SimpleNamespace:
        """The players as functions: `run.nets().generator(z, train=False)`."""
        return bind(self.states, jax.random.key(seed))

    def ability(self, kind: type[Ability], lacking: str) -> Ability:
        """The system's ability of that type; UserError "NAME `lacking`" where it has none."""
        found = self.system.ability(kind)
        if found is None:
            raise UserError(f"{self.name} {lacking}{self.unfinished}")
        return found

    @property
    def unfinished(self) -> str:
        """What an error says besides, where later stages may have what is lacking."""
        if not self.ahead:
            return ""
        stages = ", ".join(self.ahead)
        return f"; {stages} of it is still to be trained: start the same command again"

    def frozen(self, player: str) -> Player:
        """One of the players, to stand still in another system: with its averaged weights where it
        has any.  UserError where there is no such player."""
        if player not in self.system.players:
            known = " or ".join(self.system.players)
            raise UserError(f"{self.name} has no player {player!r}; its players are {known}")
        own, state = self.system.players[player], averaged(self.states[player])
        variables = {"params": state.params, **state.collections}
        return Player(own.module, own.inputs, variables=variables)

    def sample(self, n: int = 16, *, seed: int = 0, batch: int = 64, **choices) -> np.ndarray:
        """`n` generated images; for `choices` (label=3, text="a dog", truncation=0.7) see
        `jaxgen.runs.sampling.samples`."""
        from jaxgen.runs.sampling import samples

        return np.concatenate(list(samples(self, n, seed=seed, batch=batch, **choices)))

    def interpolate(
        self, n: int = 8, frames: int = 16, *, seed: int = 0, batch: int = 64, **choices
    ) -> np.ndarray:
        """The frames [n * frames, H, W, C] of a closed walk through `n` latents; see
        `jaxgen.runs.sampling.walk`."""
        from jaxgen.runs.sampling import walk

        return np.concatenate(list(walk(self, n, frames, seed=seed, batch=batch, **choices)))

    def between(
        self, images: Sequence[np.ndarray], frames: int = 16, *, batch: int = 64
    ) -> np.ndarray:
        """The frames [n * frames, H, W, C] of a closed walk through the codes of n images uint8
        [H, W, C]; see `jaxgen.runs.sampling.passage`."""
        from jaxgen.runs.sampling import passage

        return np.concatenate(list(passage(self, images, frames, batch=batch)))

    def traverse(self, n: int | None = None, frames: int = 16, **options) -> np.ndarray:
        """Images [n * frames, H, W, C]: each number of a latent in turn, from low to high; see
        `jaxgen.runs.sampling.traversal`."""
        from jaxgen.runs.sampling import traversal

        return np.concatenate(list(traversal(self, n, frames, **options)))

    def plane(self, frames: int = 8, **options) -> np.ndarray:
        """Images [frames * frames, H, W, C] along two directions, between four samples; see
        `jaxgen.runs.sampling.plane`."""
        from jaxgen.runs.sampling import plane

        return np.concatenate(list(plane(self, frames, **options)))

    def film(self, n: int = 16, frames: int = 48, *, seed: int = 0, **choices) -> np.ndarray:
        """How `n` samples come about, [frames, n, H, W, C]; see `jaxgen.runs.sampling.film`."""
        from jaxgen.runs.sampling import film

        return film(self, n, frames, seed=seed, **choices)

    def arithmetic(self, *sums: str, **options) -> np.ndarray:
        """Images of the terms of sums of samples, such as "3-7+12", and of the sums; see
        `jaxgen.runs.sampling.arithmetic`."""
        from jaxgen.runs.sampling import arithmetic

        return arithmetic(self, sums, **options)

    def mix(self, rows: int = 4, columns: int = 6, layer: int | None = None, **options):
        """The cells of a grid of mixed styles; see `jaxgen.runs.sampling.mixes`."""
        from jaxgen.runs.sampling import mixes

        return mixes(self, rows, columns, layer, **options)

    def translate(self, image: np.ndarray, *, direction: str | None = None, **options):
        """One image uint8 [H, W, C] translated, uint8 [H', W', C']; further inputs and options by
        name; see `jaxgen.runs.translating.translate`."""
        from jaxgen.runs.translating import translate

        return translate(self, image, direction=direction, **options)

    def project(self, image: np.ndarray, **options):
        """The latent whose image is nearest to one image uint8 [H, W, C]: `found.point`,
        `found.image`, `found.distance`; see `jaxgen.runs.projecting.search`."""
        from jaxgen.runs.projecting import project

        return project(self, image, **options)

    def match(self, images: Sequence[np.ndarray | Path], texts: Sequence[str]) -> np.ndarray:
        """How likely each text is, given that one of them belongs to the image (of any size, or its
        file): [images, texts], each row's sum is 1."""
        from jaxgen.runs.matching import likelihoods

        return likelihoods(self, images, texts)

    def score(self, images: Sequence[np.ndarray | Path], **choices) -> dict[str, np.ndarray]:
        """The log-likelihoods in nats, or energies, [n] by name, of images of any size or their
        files; see `jaxgen.runs.scoring.score`."""
        from jaxgen.runs.scoring import score

        return score(self, images, **choices)

    def encode(self, images: np.ndarray, *, batch: int = 64) -> np.ndarray:
        """Codes [n, ...] of images uint8 [n, H, W, C] of the training's size."""
        coder = self.ability(Autoencoder, "has no encoder; a vae has one")
        if images.shape[1:] != self.info.shape:
            raise UserError(
                f"images to be encoded are [n, {', '.join(map(str, self.info.shape))}], not "
                f"{list(images.shape)}; jaxgen.data.images.to_input resizes one"
            )
        return self._in_chunks(lambda nets, x: coder.encode(nets, to_float(x)), images, batch)

    def decode(self, codes: np.ndarray, *, batch: int = 64) -> np.ndarray:
        """Images uint8 [n, H, W, C] of codes [n, ...]."""
        from jaxgen.pictures import as_uint8

        coder = self.ability(Autoencoder, "has no decoder; a vae has one")
        return as_uint8(self._in_chunks(coder.decode, codes, batch))

    def evaluate(self, *metrics: str, **options) -> dict[str, float]:
        """Scores by name, of `metrics` or of those that suit the system; see
        `jaxgen.evaluate.run.evaluate`.  Of a sweep the names are such as "fid, lr=0.001"."""
        from jaxgen.evaluate.run import evaluate

        of = lambda r: f", {self.sweep.label(r['copy'])}" if self.sweep else ""
        return {r["label"] + of(r): r["value"] for r in evaluate(self, metrics, **options)}

    def export(self, path: Path | str, **options) -> Path:
        """Writes the weights (.safetensors) or a program (.stablehlo) that runs without jaxgen; see
        `jaxgen.runs.export.export`."""
        from jaxgen.runs.export import export

        return export(self, Path(path), **options)

    def _in_chunks(self, f, x, batch):
        @jax.jit
        def program(states, x):
            return f(bind(states, jax.random.key(0)), x)

        x, parts = np.asarray(x), []
        for first in range(0, len(x), batch):
            part = x[first : first + batch]
            whole = part[np.arange(batch) % len(part)]  # of one size, so that one program serves
            parts.append(np.asarray(program(self.states, whole))[: len(part)])
        return np.concatenate(parts)
