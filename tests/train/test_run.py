"""The run folder: what may go on, what is written, what the disk refuses."""

import json
import os
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image, ImageSequence

from jaxgen.errors import UserError
from jaxgen.pictures import as_uint8, grid, save_film
from jaxgen.train.run import FREE, Run, environment, read_run

ARGS = {"workdir": "runs/x", "seed": 0, "batch_size": 64, "rounds": 100, "adam": {"b1": 0.5}}
HERE = {"data_fingerprint": "abc", "jax": "0.10"}


def lines(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


def saved(folder):
    """A run that has a checkpoint, as far as its folder is concerned."""
    (folder / "checkpoints/1").mkdir(parents=True)
    (folder / "checkpoints/1/digests.json").write_text("{}")


def test_start_writes_arguments_and_environment(tmp_path):
    with Run(tmp_path / "a" / "b", ARGS, environment("abc")) as run:
        pass
    read = read_run(run.folder)
    assert read.args == ARGS
    [session] = read.environment
    assert session["data_fingerprint"] == "abc"
    assert session["command"].startswith("python ")
    assert {"jax", "jaxlib", "flax", "optax", "numpy", "python", "devices"} <= session.keys()
    assert os.uname().nodename not in json.dumps({**session, "system": ""})


def test_other_arguments_are_refused_by_name(tmp_path):
    with Run(tmp_path, ARGS, HERE):
        pass
    saved(tmp_path)
    other = ARGS | {"seed": 1, "adam": {"b1": 0.9}, "new": True}
    with pytest.raises(UserError) as error, Run(tmp_path, other, HERE):
        pass
    line = str(error.value)
    assert "seed was 0 and is now 1" in line
    assert "adam.b1 was 0.5 and is now 0.9" in line
    assert "new was absent and is now true" in line
    assert "batch_size" not in line
    assert "another run folder" in line
    assert "\n" not in line
    assert read_run(tmp_path).args == ARGS
    with Run(tmp_path, ARGS, HERE):  # the refused start holds no lock
        pass


def test_free_arguments_may_change_and_are_recorded(tmp_path):
    with Run(tmp_path, ARGS, HERE):
        pass
    saved(tmp_path)
    with pytest.raises(UserError, match="rounds was 100 and is now 200"):
        Run(tmp_path, ARGS | {"rounds": 200}, HERE).__enter__()
    changed = ARGS | {"rounds": 200, "workdir": "elsewhere"}
    with Run(tmp_path, changed, HERE, free=FREE | {"rounds"}):
        pass
    read = read_run(tmp_path)
    assert read.args == changed
    assert read.environment[1]["changed"] == {
        "workdir": ["runs/x", "elsewhere"],
        "rounds": [100, 200],
    }


def test_arguments_compare_as_json_does(tmp_path):
    with Run(tmp_path, {"sizes": (4, 8), "data": tmp_path}, HERE):
        pass
    saved(tmp_path)
    with Run(tmp_path, {"sizes": [4, 8], "data": str(tmp_path)}, HERE):
        pass


@pytest.mark.parametrize("other", ["folder:./a/", "folder:/home/me/a", "folder:renamed", "b+c"])
def test_the_fingerprint_decides_where_the_data_may_lie(tmp_path, other):
    args = ARGS | {"data": "folder:a", "weights": "w.npz"}
    with Run(tmp_path, args, HERE):
        pass
    saved(tmp_path)
    moved = args | {"data": other, "weights": f"{os.getcwd()}/./w.npz"}
    with pytest.raises(UserError, match='data was "folder:a"'):
        Run(tmp_path, moved, HERE | {"data_fingerprint": "xyz"}).__enter__()
    with pytest.raises(UserError, match='data was "folder:a"'):
        Run(tmp_path, moved, HERE | {"data_fingerprint": None}).__enter__()
    with pytest.raises(UserError, match=r'weights was "w\.npz" and is now "v\.npz"'):
        Run(tmp_path, args | {"weights": "v.npz"}, HERE).__enter__()
    with Run(tmp_path, moved, HERE):
        pass
    assert read_run(tmp_path).environment[1]["changed"]["data"] == ["folder:a", other]


def test_of_a_file_the_contents_decide(tmp_path):
    run, one, two = (tmp_path / name for name in ("run", "one.npz", "two.npz"))
    one.write_bytes(b"weights")
    with Run(run, ARGS | {"weights": one}, HERE) as first:
        first.stage("0-a")
    saved(run)
    one.rename(two)
    with Run(run, ARGS | {"weights": two}, HERE) as again:
        again.stage("0-a")
    changed = read_run(run).environment[1]["changed"]
    assert changed == {"weights": [str(one), str(two)]}
    one.write_bytes(b"others")
    said = rf'weights is now "{one}", with other contents than "{two}" had'
    with pytest.raises(UserError, match=said):
        Run(run, ARGS | {"weights": one}, HERE).__enter__()
    two.write_bytes(b"others")
    with pytest.raises(UserError, match=f'"{two}", with other contents than "{two}" had'):
        Run(run, ARGS | {"weights": two}, HERE).__enter__()
    two.unlink()  # a run that is opened has its weights in its checkpoint
    with Run(run, ARGS | {"weights": two}, HERE):
        pass


def test_a_system_says_which_arguments_are_places(tmp_path):
    args = ARGS | {"content": "a.jpg", "data": "x"}
    places = frozenset({"content"})
    with Run(tmp_path, args, HERE, places=places):
        pass
    saved(tmp_path)
    with Run(tmp_path, args | {"content": "b/a.jpg"}, HERE, places=places) as run:
        run.stage("0-one")
    with pytest.raises(UserError, match='data was "x"'):
        Run(tmp_path, args | {"data": "y"}, HERE, places=places).__enter__()


def test_checkpoints_without_arguments_are_refused(tmp_path):
    saved(tmp_path)
    with (
        pytest.raises(UserError, match=r"has checkpoints but no args.json, which says what"),
        Run(tmp_path, ARGS, HERE),
    ):
        pass


def test_other_data_are_refused(tmp_path):
    with Run(tmp_path, ARGS, HERE):
        pass
    saved(tmp_path)
    with pytest.raises(UserError, match="abc and is now xyz"):
        Run(tmp_path, ARGS, HERE | {"data_fingerprint": "xyz"}).__enter__()


def test_a_mistake_before_the_first_checkpoint_is_mended_in_place(tmp_path):
    with Run(tmp_path, ARGS, HERE):
        pass
    with Run(tmp_path, ARGS | {"seed": 1}, HERE | {"data_fingerprint": "xyz"}):
        pass
    assert read_run(tmp_path).args["seed"] == 1
    assert len(read_run(tmp_path).environment) == 1


def test_one_run_at_a_time_also_after_kill_9(tmp_path):
    hold = (
        "import sys, time; from jaxgen.train.run import Run\n"
        "with Run(sys.argv[1], {}, {}): print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "in\n"
        with pytest.raises(UserError, match=f"another run is at work in {tmp_path}"):
            Run(tmp_path, {}, {}).__enter__()
        other.send_signal(signal.SIGKILL)
    with Run(tmp_path, {}, {}):
        pass


def test_log_keeps_order_and_shortest_numbers(tmp_path):
    with Run(tmp_path, {}, {}) as run:
        run.log(
            {
                "round": np.int64(1),
                "g/loss": np.float32(0.1),
                "d/loss": jnp.float32(-1e-9),
                "x": 1 / 3,
            }
        )
        assert lines(tmp_path) == [
            '{"round": 1, "g/loss": 0.1, "d/loss": -1e-09, "x": 0.3333333333333333}'
        ]
        assert run.last()["g/loss"] == 0.1
        with pytest.raises(FloatingPointError, match="g/loss is nan"):
            run.log({"round": 2, "g/loss": jnp.nan})
        assert len(lines(tmp_path)) == 1


def events(folder):
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*"), key=lambda p: p.suffix):
        data = path.read_bytes()
        while data:  # TFRecord: length, its CRC, the record, its CRC
            n = int.from_bytes(data[:8], "little")
            yield Event.FromString(data[12 : 12 + n])
            data = data[16 + n :]


def test_rewind_drops_later_rounds_and_a_half_line(tmp_path):
    with Run(tmp_path, {}, {}) as run:
        for round in (10, 20, 30):
            run.log({"round": round, "loss": round / 10})
    saved(tmp_path)
    before = lines(tmp_path)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"round": 40, "lo')
    assert len(read_run(tmp_path).metrics) == 3
    with Run(tmp_path, {}, {}) as run:
        run.rewind(20)
        assert lines(tmp_path) == before[:2]
        assert run.last() == {"round": 20, "loss": 2.0}
        run.log({"round": 30, "loss": 3.0})
    assert lines(tmp_path) == before
    seen = list(events(tmp_path))
    starts = [e.step for e in seen if e.session_log.status == 1]
    assert starts == [21]  # TensorBoard forgets what it has from there on
    scalars = [(e.step, v.simple_value) for e in seen for v in e.summary.value]
    assert scalars == [(10, 1), (20, 2), (30, 3), (30, 3)]


def test_rounds_played_again_are_logged_once(tmp_path):
    for _ in range(2):  # the first session is killed before it saves anything
        with Run(tmp_path, {}, {}) as run:
            run.rewind(0)
            assert not (tmp_path / "samples").exists() or not list((tmp_path / "samples").iterdir())
            run.log({"round": 1, "loss": 1.0})
            run.log({"round": 2, "loss": 2.0})
            run.picture(2, {"samples": np.zeros((1, 4, 4, 1), np.uint8)})
    assert len(lines(tmp_path)) == 2


def test_pictures(tmp_path):
    images = np.linspace(-1, 1, 5 * 4 * 4 * 3, dtype=np.float32).reshape(5, 4, 4, 3)
    with Run(tmp_path, {}, {}) as run:
        run.picture(7, {"samples": images})
        run.picture(8, {"fake": images, "cycle_a": as_uint8(images[..., :1])})
    read = read_run(tmp_path)
    assert {name: [r for r, _ in found] for name, found in read.samples.items()} == {
        "": [7],
        "fake": [8],
        "cycle_a": [8],
    }
    with Image.open(tmp_path / "samples" / "round_00000007.png") as picture:
        sheet = np.asarray(picture)
    np.testing.assert_array_equal(sheet[:4, :4], as_uint8(images[0]))
    np.testing.assert_array_equal(sheet[6:10, 6:10], as_uint8(images[4]))
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "round_00000007.png",
        "round_00000008_cycle_a.png",
        "round_00000008_fake.png",
    ]
    assert sum(v.HasField("image") for e in events(tmp_path) for v in e.summary.value) == 3


def test_stages_have_folders_of_their_own(tmp_path):
    with Run(tmp_path, ARGS, HERE) as run:
        stage = run.stage("0-small")
        stage.log({"round": 1, "loss": 0.0})
    assert read_run(tmp_path / "0-small").args == ARGS | {"stage": "0-small"}
    with Run(tmp_path, ARGS, HERE) as run:
        assert run.stage("0-small").last() == {"round": 1, "loss": 0.0}


def test_other_processes_touch_nothing(tmp_path):
    with Run(tmp_path / "run", ARGS, HERE, write=False) as run:
        run.log({"round": 1})
        run.rewind(0)
        run.picture(1, {})
        assert run.last() is None
        assert run.stage("a").folder == tmp_path / "run" / "a"
    assert not run.folder.exists()


def test_not_a_run_folder(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        read_run(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is always full")
def test_full_disk_is_one_line(tmp_path):
    with Run(tmp_path, {}, {}) as run:
        (tmp_path / "checkpoints" / "50").mkdir(parents=True)
        (tmp_path / "checkpoints" / "50" / "digests.json").touch()
        (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
        run._rewound = 50
        with pytest.raises(UserError) as error:
            run.log({"round": 51, "loss": 1.0})
    line = str(error.value)
    assert line.startswith("metrics.jsonl cannot be written (No space left on device")
    assert "round 50" in line
    assert "\n" not in line


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="the run folder cannot be written"):
        Run(tmp_path / "file", {}, {}).__enter__()


def test_importing_is_quick():
    heavy = "jax", "flax", "orbax", "grain", "tensorboardX", "tensorflow", "imageio"
    code = (
        "import sys, jaxgen.train.run, jaxgen.train.checkpoints, jaxgen.pictures;"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    start = time.monotonic()
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n", time.monotonic() - start


def test_as_uint8_floors_with_an_offset_of_128():
    values = np.float32([-2, -1, -127.9 / 127.5, 0, 1e-3, 127 / 127.5, 1, 2])
    expected = np.floor(values * np.float32(127.5) + 128).clip(0, 255)
    np.testing.assert_array_equal(as_uint8(values), expected)
    assert as_uint8(np.float32([-1, 0, 1])).tolist() == [0, 128, 255]
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(as_uint8(every / np.float32(127.5) - 1), every)


def test_grids():
    image = np.zeros((5, 8, 8, 1), np.float32)
    assert grid(image).size == (28, 18)
    assert grid(image).mode == "L"
    assert grid(np.zeros((2, 8, 32, 3), np.uint8)).size == (32, 18)  # wide ones lie on each other
    clear = np.zeros((1, 16, 16, 4), np.uint8)
    sheet = np.asarray(grid(clear))
    assert sheet[0, 0].tolist() == [255] * 3
    assert sheet[0, 8].tolist() == [224] * 3
    clear[..., 3], clear[..., 0] = 255, 9
    assert np.asarray(grid(clear))[3, 3].tolist() == [9, 0, 0]
    with pytest.raises(ValueError, match=r"not of \(4, 4, 3\)"):
        grid(np.zeros((4, 4, 3)))


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_films(tmp_path, suffix):
    """Small ones are seven times as large."""
    frames = [Image.new("RGB", (33, 17), (x, 0, 255 - x)) for x in (0, 120, 240)]
    for frame in frames:
        frame.putpixel((1, 1), (255, 255, 255))
    save_film(tmp_path / f"walk{suffix}", frames, fps=10)
    assert [p.name for p in tmp_path.iterdir()] == [f"walk{suffix}"]
    if suffix == ".gif":
        with Image.open(tmp_path / "walk.gif") as film:
            seen = np.stack([np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(film)])
            assert film.size == (33 * 7, 17 * 7)
            white = (seen > 250).all(-1)
            assert white[:, 7:14, 7:14].all()
            assert white.sum() == 3 * 7 * 7
            assert film.info["duration"] == 100
            assert film.info["loop"] == 0
    else:
        decode = f"-v error -i {tmp_path}/walk.mp4 -f rawvideo -pix_fmt rgb24 -"
        raw = subprocess.run([get_ffmpeg_exe(), *decode.split()], capture_output=True, check=True)
        seen = np.frombuffer(raw.stdout, np.uint8).reshape(3, 120, 232, 3)
    np.testing.assert_allclose(seen[:, 60, 60], [(0, 0, 255), (120, 0, 135), (240, 0, 15)], atol=12)
