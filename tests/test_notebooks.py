"""The notebooks run, cut short, and keep the pictures of a whole run."""

import json
import sys
import types
from pathlib import Path

import pytest

from tests.quick import quick_to_compile  # noqa: F401

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, monkeypatch):
    display = types.ModuleType("IPython.display")
    shown = []
    display.display = shown.append
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    cells = json.loads(path.read_text())["cells"]
    codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert "ROUNDS = 1000" in codes[0]
    codes[0] = codes[0].replace("ROUNDS = 1000", "ROUNDS = 3")
    names = {}
    for code in codes:
        exec(code, names)
    kept = [output for cell in cells for output in cell.get("outputs", [])]
    assert len(shown) == sum(output["output_type"] == "display_data" for output in kept)
    assert len(path.read_bytes()) < 200_000
