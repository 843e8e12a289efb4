"""From words to arguments, from errors to exit codes, and how soon help answers."""

import dataclasses
import io
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxgen.commands.arguments import Arguments, parse
from jaxgen.commands.launch import _tell_of_scores as tell_of_scores
from jaxgen.commands.start import _programs as programs_folder
from jaxgen.commands.start import start_jax
from jaxgen.commands.terminal import listed, one_line, writing
from jaxgen.commands.terminal import parse as parse_words
from jaxgen.errors import UserError
from jaxgen.experiments.wgan import Args
from jaxgen.files import cache_folder
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
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)):
        assert end(Stopped("saved at round 7; the same command goes on", number), capsys) == (
            code,
            "wgan: saved at round 7; the same command goes on: "
            f"python -m {NAME} --data 'folder:/a b'\n",
        )
    assert end(BrokenPipeError(), capsys) == (141, "")
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
    ):
        assert end(full, capsys, flags) == (2, f"wgan: {line} {fix}\n")
    line = "the device's memory is full; use a device that has more"
    assert end(MemoryError(), capsys) == (2, f"wgan: {line}\n")
    with pytest.raises(ValueError, match="a bug"), one_line("wgan"):
        raise ValueError("a bug keeps its traceback")


def test_no_encoding_ends_a_command(monkeypatch):
    for encoding, written in (("ascii", b"\\u2022 \\xe9"), ("latin-1", b"\\u2022 \xe9")):
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out := io.BytesIO(), encoding))
        with one_line("wgan"):
            print("• é", end="")
        assert out.getvalue() == written


def test_closed_streams_lead_nowhere(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    @one_line("wgan")
    def command():
        with sys.stdout as out, sys.stderr as err:
            out.write("lost")
            err.write("lost")
            raise UserError("lost")

    with pytest.raises(SystemExit) as exit:
        command()
    assert exit.value.code == 2


def test_ctrl_c_that_python_drops_comes_again(capsys):
    class Dropping:
        def __del__(self):
            raise KeyboardInterrupt

    @one_line("wgan")
    def command():
        Dropping()
        time.sleep(30)

    start = time.monotonic()
    with pytest.raises(SystemExit) as exit:
        command()
    assert exit.value.code == 130
    assert time.monotonic() - start < 10
    assert capsys.readouterr().err == "wgan: interrupted; nothing that was saved is lost\n"


def test_help_is_not_broken_as_its_source_is(capsys, monkeypatch, jaxgen):
    monkeypatch.setenv("COLUMNS", "600")
    with pytest.raises(SystemExit):
        parse(Args, NAME, ["--help"])
    text = capsys.readouterr().out
    assert "such as experiments/wgan/paper.toml has; a flag that is given on the command" in text
    text = jaxgen("evaluate", "--help")[1]
    assert (
        "in the styles of a system that has some ppl-w, separability-w; where a class is told"
        in text
    )


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path):
    (tmp_path / "file").write_text("kept")
    for path in tmp_path / "file" / "x.png", tmp_path / "file" / "a" / "b":
        with pytest.raises(UserError, match="cannot be written .*; name another"), writing(path):
            pytest.fail("it was begun")
    with writing(tmp_path / "file"), writing(tmp_path / "new" / "x.png"):
        pass
    assert (tmp_path / "file").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_no_home_and_no_cache(monkeypatch, tmp_path, capsys):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("JAXGEN_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(UserError, match="no home to keep files in; set JAXGEN_CACHE"):
        cache_folder()
    assert programs_folder() is None
    (tmp_path / "file").touch()
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "file"))
    assert programs_folder() is None
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("compiled programs are not kept: this user has no home")
    assert "kept in " in second
    assert "file/xla (Not a directory); set JAXGEN_CACHE to another folder" in second


def test_64_bits_are_left_aside_by_commands_and_refused_from_python(capsys, tmp_path):
    import jax
    import optax

    from jaxgen.runs.load import load
    from jaxgen.train.fit import fit
    from tests.train.toy import Points, gan

    sgd = optax.sgd(0.1)
    jax.config.update("jax_enable_x64", True)
    try:
        for start in lambda: load(tmp_path), lambda: fit(gan(sgd), Points(), 1, batch_size=4):
            with pytest.raises(UserError, match="float32, but JAX_ENABLE_X64 is set; unset it"):
                start()
        start_jax()
        assert not jax.config.read("jax_enable_x64")
    finally:
        jax.config.update("jax_enable_x64", False)
    assert capsys.readouterr().err.startswith("JAX_ENABLE_X64 is left aside")


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


def test_a_reader_who_has_left():
    """`jaxgen --help | head -0`, under `set -o pipefail`."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "jaxgen", "--help"]
    made = subprocess.run(command, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (made.returncode, made.stderr) == (141, b"")


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


def test_a_folder_that_cannot_be_scored_is_told_of_before_the_training(tmp_path, capsys):
    from jaxgen.data.source import DataInfo
    from tests.experiments import styles, translator

    info = DataInfo((16, 16, 3), {})
    for name in "train", "test":
        (tmp_path / "split" / name).mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    ways = translator.system(SimpleNamespace(any_size=True), info)
    for spec, told in (("photos+folder:{}/plain", True), ("pairs:{}/split", False)):
        args = Arguments(data=spec.format(tmp_path))
        tell_of_scores("srgan", ways, args)
        said = capsys.readouterr().err
        assert ("holds out no images, so that evaluate cannot score srgan by l1" in said) == told
    tell_of_scores("dcgan", styles.system(None, info), Arguments(data=f"folder:{tmp_path}/plain"))
    assert capsys.readouterr().err == ""


def test_a_short_training_of_clip_warms_up_a_tenth_of_it():
    from jaxgen.experiments.clip import Args as ClipArgs

    rises = [
        parse(ClipArgs, "clip", words.split()).rises for words in ("--rounds 20", "", "--warm-up 9")
    ]
    assert rises == [2, 100, 9]
