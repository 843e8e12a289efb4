"""Recipes: `quick` is the defaults, and every one is read by its experiment."""

import dataclasses
import importlib
import tomllib
from pathlib import Path

import pytest

from jaxgen.commands.arguments import parse

FOLDER = Path(__file__).parents[2] / "experiments"
RECIPES = sorted(FOLDER.glob("*/*.toml"))


def experiment(recipe):
    name = f"jaxgen.experiments.{recipe.parent.name}"
    return name, importlib.import_module(name).Args


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_recipe_is_read(recipe):
    name, kind = experiment(recipe)
    args = parse(kind, name, ["--recipe", str(recipe), "--seed", "7"])
    values = tomllib.loads(recipe.read_text())
    plain = lambda x: list(x) if isinstance(x, tuple) else x
    assert {key: plain(getattr(args, key)) for key in values} == values
    assert args.seed == 7
    if recipe.stem == "quick":
        defaults = {f.name: plain(getattr(kind(), f.name)) for f in dataclasses.fields(kind)}
        assert {key: defaults[key] for key in values} == values


def test_every_recipe_folder_has_both():
    found = {(p.parent.name, p.stem) for p in RECIPES}
    folders = {name for name, _ in found}
    assert {"gan", "dcgan", "wgan", "wgan_gp"} <= folders
    for name in folders:
        assert {(name, "quick"), (name, "paper")} <= found
