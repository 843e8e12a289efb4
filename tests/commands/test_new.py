"""`new`: copies that stand on their own, that pass the contract as they are, and mistakes."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgen.commands.new import contract_rows, files
from jaxgen.errors import UserError

ROOT = Path(__file__).parents[2]
LIKES = list(contract_rows(ROOT))


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A copy of what `new` and the contract test read, into which `new` writes."""
    folder = tmp_path / "clone"
    for name in ("jaxgen", "tests", "experiments"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.png"))
    for name in ("README.md", "CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    monkeypatch.setattr("jaxgen.commands.new.__file__", str(folder / "jaxgen/commands/new.py"))
    return folder


@pytest.mark.parametrize("like", LIKES)
def test_copies_use_nothing_of_the_original(like):
    made = files(ROOT, "unheard_of", like)
    family = next(path.parts[2] for path in made if path.parts[:2] == ("jaxgen", "systems"))
    assert {
        *(Path("jaxgen/experiments/unheard_of.py"), Path(f"jaxgen/systems/{family}/unheard_of.py")),
        *(Path("experiments/unheard_of/paper.toml"), Path("tests/systems/test_unheard_of.py")),
        *(Path("tests/test_contract.py"), Path("README.md"), Path("CHANGELOG.md")),
    } <= made.keys()
    assert (Path("jaxgen/models/unheard_of.py") in made) == (
        ROOT / f"jaxgen/models/{like}.py"
    ).exists()
    for path, text in made.items():
        if path.suffix != ".py" or path.name == "test_contract.py":
            continue
        tree = ast.parse(text)
        own = rf"\b(models|experiments|systems\.\w+)\.{like}\b|\bexperiments/{like}\b"
        assert not re.search(own, text), path
        assert not [x for x in ast.walk(tree) if isinstance(x, ast.Name) and x.id == like], path
        assert "unheard_of" in text or path.parts[1] == "models", path
    system = ast.parse(made[Path(f"jaxgen/systems/{family}/unheard_of.py")])
    assert "unheard_of" in [x.name for x in system.body if isinstance(x, ast.FunctionDef)]
    launched = 'if __name__ == "__main__":\n    launch(system)\n'
    assert made[Path("jaxgen/experiments/unheard_of.py")].endswith(launched)
    assert "TODO: title" in ast.get_docstring(system)
    assert "| `unheard_of` | TODO" in made[Path("README.md")]
    assert "- System: `unheard_of`." in made[Path("CHANGELOG.md")]


@pytest.mark.variants
def test_a_copy_passes_its_contract_row_as_it_is(clone, jaxgen):
    code, said, problem = jaxgen("new", "unheard_of", "--like", "vae")
    assert (code, problem) == (0, "")
    *paths, last = said.splitlines()
    assert all((clone / path).is_file() for path in paths)
    assert last.startswith("next: `python -m pytest tests -k unheard_of`")
    tests = ["tests/test_contract.py", "tests/experiments/test_recipes.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *tests, "-k", "unheard_of or has_a_row"],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert "3 passed" in done.stdout, done.stdout
    code, _, problem = jaxgen("new", "unheard_of", "--like", "wgan")
    assert (code, problem.count("\n")) == (2, 1)
    assert "there is jaxgen/models/unheard_of.py already; take another name" in problem


@pytest.mark.parametrize(
    ("name", "like", "said"),
    [
        ("dcgan", "dcgan", "there is jaxgen/models/dcgan.py already; take another name"),
        ("mlp", "dcgan", "there is jaxgen/models/mlp.py already"),
        ("plain", "dcgan", "there is jaxgen/systems/gan/plain.py already"),
        ("my-gan", "dcgan", "'my-gan' cannot be the name of a module; use small letters"),
        ("2gan", "dcgan", "'2gan' cannot be the name of a module"),
        ("MyGAN", "dcgan", "'MyGAN' cannot be the name of a module"),
        ("class", "dcgan", "'class' cannot be the name of a module"),
        ("list", "dcgan", "'list' cannot be the name of a module"),
        ("critic", "wgan", "has another use for the name critic; take another name"),
        (
            "unheard_of",
            "dcgann",
            "--like dcgann is no experiment that can be copied; did you mean dcgan",
        ),
        (
            "unheard_of",
            "equilibrium",
            "--like equilibrium is no experiment that can be copied; it is ",
        ),
    ],
)
def test_mistakes(name, like, said):
    with pytest.raises(UserError) as error:
        files(ROOT, name, like)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_installation_is_not_a_clone(jaxgen, monkeypatch, tmp_path):
    monkeypatch.setattr("jaxgen.commands.new.__file__", str(tmp_path / "jaxgen/commands/new.py"))
    code, _, problem = jaxgen("new", "unheard_of")
    assert (code, problem.count("\n")) == (2, 1)
    assert "start it in a clone's folder, or write one file of your own" in problem
