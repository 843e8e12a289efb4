"""The documentation is built without a warning and without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import jaxgen
from jaxgen.__main__ import COMMANDS
from jaxgen.data.specs import SHIPPED

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_site(tmp_path):
    """One test, so that no second worker builds it again."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", DOCS, tmp_path]
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "http_proxy": "0:0", "https_proxy": "0:0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stderr

    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 15
    elsewhere = r"<(?:script|link|img)\b[^>]*(?:src|href)=\"(?:https?:)?//[^\"]*"
    for page in pages:
        assert not re.findall(elsewhere, page.read_text(encoding="utf-8")), page

    library = (tmp_path / "reference" / "library.html").read_text(encoding="utf-8")
    for name in jaxgen.__all__:
        assert f'id="jaxgen.{name}"' in library or f'id="module-jaxgen.{name}"' in library, name

    systems = (tmp_path / "reference" / "systems.html").read_text(encoding="utf-8")
    for path in (ROOT / "jaxgen" / "systems").rglob("*.py"):
        if path.stem != "__init__":
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            assert f'id="module-{name}"' in systems


def test_every_shipped_set_is_shown():
    page = (DOCS / "data.md").read_text(encoding="utf-8")
    for name in SHIPPED:
        picture = "faces.png" if name == "faces" else f"sets/{name}.png"
        assert f"]({picture})" in page, name
        assert (DOCS / picture).is_file(), name


def test_every_command_is_described():
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"python -m jaxgen {name}" in page, name
