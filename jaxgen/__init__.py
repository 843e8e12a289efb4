"""jaxgen: the classic image-generating systems in JAX, faithful to their papers.

    import jaxgen as jg

    data = jg.load_data("folder:photos", size=64)     # or jg.arrays({"image": x})
    gan = jg.fit(system, data, rounds=10_000, batch_size=64, run="runs/mine")
    gan = jg.load("runs/mine", system)                # or jg.load("runs/wgan")
    images = gan.sample(16, seed=0)

The names below are loaded when they are first used, so that importing jaxgen takes no time.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from jaxgen import draw as draw
    from jaxgen.data.arrays import arrays as arrays
    from jaxgen.data.pipeline import load as load_data
    from jaxgen.data.source import Data as Data
    from jaxgen.data.source import DataInfo as DataInfo
    from jaxgen.data.source import Field as Field
    from jaxgen.errors import UserError as UserError
    from jaxgen.planning.plan import plan as plan
    from jaxgen.runs.fit import fit as fit
    from jaxgen.runs.load import load as load
    from jaxgen.runs.trained import TrainedRun as TrainedRun
    from jaxgen.train.abilities import Autoencoder as Autoencoder
    from jaxgen.train.abilities import Density as Density
    from jaxgen.train.abilities import DiscriminatorScores as DiscriminatorScores
    from jaxgen.train.abilities import Embedder as Embedder
    from jaxgen.train.abilities import Energy as Energy
    from jaxgen.train.abilities import LatentSpace as LatentSpace
    from jaxgen.train.abilities import Option as Option
    from jaxgen.train.abilities import Sampler as Sampler
    from jaxgen.train.abilities import StyleMixer as StyleMixer
    from jaxgen.train.abilities import Translator as Translator
    from jaxgen.train.game import Player as Player
    from jaxgen.train.game import System as System
    from jaxgen.train.game import Turn as Turn
    from jaxgen.train.stages import Stage as Stage

_WHERE = {
    "draw": ["draw"],
    "errors": ["UserError"],
    "data.arrays": ["arrays"],
    "data.source": ["Data", "DataInfo", "Field"],
    "planning.plan": ["plan"],
    "runs.fit": ["fit", "iterate"],
    "runs.load": ["load"],
    "runs.trained": ["TrainedRun"],
    "train.abilities": [
        *("Autoencoder", "Density", "DiscriminatorScores", "Embedder", "Energy", "LatentSpace"),
        *("Option", "Sampler", "StyleMixer", "Translator"),
    ],
    "train.game": ["Player", "System", "Turn"],
    "train.stages": ["Stage"],
}
_HOME = {name: module for module, names in _WHERE.items() for name in names}
__all__ = ["load_data", *sorted(_HOME)]


def __getattr__(name: str):
    if name == "load_data":
        return importlib.import_module("jaxgen.data.pipeline").load
    if name not in _HOME:
        raise AttributeError(f"module 'jaxgen' has no attribute {name!r}")
    module = importlib.import_module(f"jaxgen.{_HOME[name]}")
    return module if name == "draw" else getattr(module, name)


def __dir__():
    return [*globals(), *__all__]
