"""Runs of toy size for the commands to work on."""

import pytest
from PIL import Image

from tests.experiments.command import TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run of WGAN with checkpoints of rounds 2 and 4."""
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import train
    from jaxgen.experiments.wgan import Args, system

    folder = tmp_path_factory.mktemp("runs") / "toy"
    flags = [*TINY, "--save-every", "2", "--rounds", "4", "--workdir", str(folder)]
    name = "jaxgen.experiments.wgan"
    train(name, system, parse(Args, name, flags))
    return folder


@pytest.fixture(scope="session")
def styled(tmp_path_factory):
    """A run of a toy with styles, of one round."""
    from jaxgen.commands.launch import train
    from tests.experiments.styles import Args, system

    root = tmp_path_factory.mktemp("runs")
    (root / "data").mkdir()
    for i in range(8):  # what is in them does not matter
        Image.new("RGB", (16, 16), (30 * i, 0, 0)).save(root / "data" / f"{i}.png")
    options = {"batch_size": 8, "rounds": 1, "log_every": 1, "save_every": 1}
    args = Args(workdir=root / "styled", data=f"folder:{root / 'data'}", **options)
    train("tests.experiments.styles", system, args)
    return args.workdir


@pytest.fixture
def jaxgen(capsys):
    """`python -m jaxgen` in this process: (exit code, stdout, stderr) of its words."""
    from jaxgen.__main__ import main

    def run(*words):
        code = 0
        try:
            main(list(map(str, words)))
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run
