"""Recipes: each is read by its experiment, and says nothing that the defaults say already."""

import dataclasses
import importlib
import tomllib
from pathlib import Path

import pytest

from jaxgen.commands.arguments import parse

FOLDER = Path(__file__).parents[2] / "experiments"
RECIPES = sorted(FOLDER.glob("*/*.toml"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_recipe_is_read(recipe):
    name = f"jaxgen.experiments.{recipe.parent.name}"
    kind = importlib.import_module(name).Args
    args = parse(kind, name, ["--recipe", str(recipe), "--seed", "7"])
    values = tomllib.loads(recipe.read_text())
    assert args.seed == 7
    defaults = kind()
    for key, value in values.items():
        given, default = getattr(args, key), getattr(defaults, key)
        if key == "size" and isinstance(given, tuple):
            value = (value, value)
        assert (list(given) if isinstance(value, list) else given) == value
        assert given != default, f"{key} is the default"


def test_every_experiment_with_flags_of_images_has_the_papers_recipe():
    from jaxgen.commands.arguments import Arguments

    modules = Path(importlib.import_module("jaxgen.experiments").__path__[0]).glob("[a-z]*.py")
    for path in modules:
        kind = importlib.import_module(f"jaxgen.experiments.{path.stem}").Args
        if issubclass(kind, Arguments):
            assert dataclasses.is_dataclass(kind)
            assert FOLDER / path.stem / "paper.toml" in RECIPES
