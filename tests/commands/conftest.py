"""Runs of toy size for the commands to work on."""

import pytest

from tests.experiments.command import TINY
from tests.runs import toys


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
    """A run of a toy with styles."""
    folder = tmp_path_factory.mktemp("runs") / "styled"
    return toys.saved(toys.styled(), folder, "tests.experiments.styles")


@pytest.fixture(scope="session")
def translator(tmp_path_factory):
    """A run of a toy that translates."""
    folder = tmp_path_factory.mktemp("runs") / "translator"
    return toys.saved(toys.paired(), folder, "tests.experiments.translator")


@pytest.fixture(scope="session")
def conditional(tmp_path_factory):
    """A run of a toy with conditions, made from Python: its folder and its system's name."""
    folder = tmp_path_factory.mktemp("runs") / "conditional"
    toys.saved(toys.conditional(), folder)
    return folder, "--system", "tests.runs.toys:conditional_system"


@pytest.fixture(scope="session")
def stylist(tmp_path_factory):
    """A run of a toy with further inputs, made from Python: its folder and its system's name."""
    folder = tmp_path_factory.mktemp("runs") / "stylist"
    toys.saved(toys.stylist(), folder)
    return folder, "--system", "tests.runs.toys:painting_system"


@pytest.fixture(scope="session")
def coder(tmp_path_factory):
    """A run of a toy that encodes, made from Python: its folder and its system's name."""
    folder = tmp_path_factory.mktemp("runs") / "coder"
    toys.saved(toys.coder(), folder)
    return folder, "--system", "tests.runs.toys:coding_system"


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
