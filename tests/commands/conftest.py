"""A run of toy size for the commands to work on."""

import pytest

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
