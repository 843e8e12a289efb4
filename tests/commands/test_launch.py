"""From words to arguments, from errors to exit codes, and how soon help answers."""

import dataclasses
import os
import platform
import subprocess
import sys
import time

import pytest

from jaxgen.commands.arguments import Arguments, parse
from jaxgen.commands.terminal import listed, one_line
from jaxgen.commands.terminal import parse as parse_words
from jaxgen.errors import UserError
from jaxgen.experiments.wgan import Args
from tests.experiments.command import TINY

NAME = "jaxgen.experiments.wgan"


def test_flags_go_over_the_recipe_and_the_recipe_over_defaults(tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text('lr = 1e-3\nflip = true\nrounds = 7\ndata = "folder:/a b"\n')
    args = parse(Args, NAME, ["--recipe", str(recipe), "--rounds", "9"])
    assert (args.lr, args.flip, args.rounds, args.data) == (1e-3, True, 9, "folder:/a b")
    assert args.clip == Args.clip
    assert str(args.workdir) == "runs/wgan"


def test_help_names_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        parse(Args, NAME, ["--help"])
    text = capsys.readouterr().out
    assert not end.value.code
    assert text.startswith(f"usage: python -m {NAME} [-h]")
    assert "Arjovsky" in text
    for field in dataclasses.fields(Arguments):
        assert f"--{field.name.replace('_', '-')}" in text
    assert "None" not in text


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_jaxgen_alone_shows_its_commands(jaxgen, words):
    code, text, _ = jaxgen(*words)
    assert code == 0
    for command in "list", "sample", "interpolate", "report":
        assert f"• {command}" in text


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["smaple", "runs/x"], "there is no command smaple; did you mean sample?"),
        (["dance"], "there is no command dance; there are list, sample, interpolate, mix, "),
        (["--n", "3", "sample"], "the command comes before --n: list, sample, interpolate, mi"),
        (["sample"], "sample needs a RUN; --help lists what there is"),
        (["report", "a", "b"], "b belongs to no flag; --help lists what there is"),
    ],
)
def test_wrong_commands(jaxgen, words, line):
    code, _, problem = jaxgen(*words)
    assert code == 2
    assert problem.startswith(f"jaxgen: {line}")


def end(error, capsys, flags=()):
    with pytest.raises(SystemExit) as exit, one_line("wgan", flags):
        raise error
    return exit.value.code, capsys.readouterr().err


def test_exit_codes(capsys, monkeypatch):
    from jaxgen.train.fit import Diverged, Stopped

    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", NAME, "--data", "folder:/a b"])
    stopped = end(Stopped("saved at round 7; the same command goes on from there"), capsys)
    assert stopped == (
        0,
        "wgan: saved at round 7; the same command goes on from there: "
        f"python -m {NAME} --data 'folder:/a b'\n",
    )
    assert end(Diverged("round 7: loss of g is nan"), capsys)[0] == 1
    assert end(UserError("no"), capsys) == (2, "wgan: no\n")
    interrupted = "wgan: interrupted; nothing that was saved is lost\n"
    assert end(KeyboardInterrupt(), capsys) == (130, interrupted)
    import jax

    full = jax.errors.JaxRuntimeError(
        "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 81.53GiB."
    )
    line = "the device's memory is full (81.53GiB more were needed); use a smaller"
    for flags, fix in (
        (["width", "batch_size", "lr", "size"], "--batch-size, --size or --width"),
        (["batch", "seed"], "--batch"),
        (["tile", "out"], "--tile"),
    ):
        assert end(full, capsys, flags) == (2, f"wgan: {line} {fix}\n")
    line = "the device's memory is full; use a device that has more"
    assert end(MemoryError(), capsys) == (2, f"wgan: {line}\n")
    with pytest.raises(ValueError, match="a bug"), one_line("wgan"):
        raise ValueError("a bug keeps its traceback")


BOX = """\
╭─ Unrecognized options ───────────────────────╮
│ Unrecognized options: --batch, 3             │
│ ──────────────────────────────────────────── │
│ Perhaps you meant:                           │
│     --batch-size INT                         │
│         (default: 3)                         │
│ ──────────────────────────────────────────── │
│ For full helptext, run x --help              │
╰──────────────────────────────────────────────╯
"""


def test_boxes_of_a_terminal_with_and_without_utf8():
    plain = BOX.translate(str.maketrans("╭╮│╰╯─", "      ")).replace(" " * 40, "-" * 40)
    for box in BOX, plain:

        def cli(args, prog, box=box):
            print(box, file=sys.stderr)
            sys.exit(2)

        with pytest.raises(UserError) as error:
            parse_words(cli, ["--batch", "3"], "x")
        assert str(error.value) == "there is no flag --batch; did you mean --batch-size?"


def test_listed():
    assert [listed("a"), listed("ab"), listed("abc")] == ["a", "a or b", "a, b or c"]


PROBE = """
import importlib, pkgutil, sys
import jaxgen
assert not {"jax", "numpy", "tensorflow", "tyro"} & set(sys.modules)
import jaxgen.experiments, jaxgen.__main__
for found in pkgutil.iter_modules(jaxgen.experiments.__path__):
    importlib.import_module(f"jaxgen.experiments.{found.name}")
assert not {"jax", "flax", "orbax", "grain", "tensorflow"} & set(sys.modules)
from jaxgen.commands.launch import launch
from jaxgen.experiments.wgan import system
launch(system)
assert "jax" in sys.modules
assert "tensorflow" not in sys.modules
print("all is well")
"""


def test_nothing_is_imported_before_its_time(tmp_path):
    words = [*TINY, "--rounds", "1", "--workdir", str(tmp_path)]
    made = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert made.stdout.endswith("all is well\n")


@pytest.mark.parametrize("module", ["jaxgen", NAME])
def test_help_answers_within_three_seconds(module):
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", module, "--help"], check=True, capture_output=True)
    assert time.monotonic() - start < 3


KEEPS = """
import ctypes, resource
from jaxgen.commands.start import keep_memory
keep_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def fetched():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(1 << 28)
    ctypes.memset(block, 1, 1 << 28)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(fetched() > 100 * fetched())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_freed_memory_is_used_again_on_a_cpu():
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", KEEPS]
    made = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert made.stdout == "True\n", made.stderr
