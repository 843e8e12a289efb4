"""Sets that fit no folder, streamed by two processes, go on exactly after SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxgen.data.pipeline import load
from tests.data.stored import numbered, write_shard

BATCH, SEED = 250, 3
# Writes the numbers of each batch, then where the next one starts, which is all that it goes on by.
PROGRAM = """
import json, sys
from pathlib import Path
from jaxgen.data.pipeline import load
from jaxgen.files import replacing
from tests.data.stored import number

spec, process, last, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
data = load(spec, size=8, channels=1, resident="no")
batches = data.batches(250, 3, process=process, processes=2)
state = folder / f"{process}.json"
if state.exists():
    batches.set_state(json.loads(state.read_text()))
with (folder / f"{process}.txt").open("a") as log:
    while (at := batches.get_state()["batch"]) < last:
        batch = next(batches)
        pairs = zip(number(batch["image"]).tolist(), batch["label"].tolist(), strict=True)
        print(at, *(f"{k}:{label}" for k, label in pairs), file=log, flush=True)
        with replacing(state) as temporary:
            temporary.write_text(json.dumps(batches.get_state()))
batches.close()
"""


def tar_shards(folder, numbers):
    folder.mkdir()
    for n in range(10):
        parts = ((f"{k:05}", {"png": numbered(k), "cls": str(k % 7)}) for k in numbers[n::10])
        write_shard(folder / f"shard-{n:04}.tar", parts)
    return f"wds:{folder}/shard-{{0000..0009}}.tar", [k for n in range(10) for k in numbers[n::10]]


def parquet_files(folder, numbers):
    folder.mkdir()
    for n in range(4):
        columns = {
            "image": [{"bytes": numbered(k), "path": f"{k}.png"} for k in numbers[n::4]],
            "label": [k % 7 for k in numbers[n::4]],
        }
        pq.write_table(pa.table(columns), folder / f"train-{n:05}-of-00004.parquet")
    return f"hf:{folder}", [k for n in range(4) for k in numbers[n::4]]


def start(spec, last, folder):
    here = Path(__file__).parents[2]
    return [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, spec, str(process), str(last), folder],
            env=os.environ | {"PYTHONPATH": str(here)},
        )
        for process in range(2)
    ]


def lines(folder, process):
    file = folder / f"{process}.txt"
    return file.read_text().split("\n")[:-1] if file.exists() else []


def test_two_killed_processes_go_on_exactly(tmp_path, monkeypatch):
    """10,000 images, half of them in shards and half in parquet files."""
    monkeypatch.setenv("JAXGEN_CACHE", str(tmp_path / "cache"))
    shards, first = tar_shards(tmp_path / "shards", range(5_000))
    files, second = parquet_files(tmp_path / "files", range(5_000, 10_000))
    spec, known = f"{shards}+{files}", np.array(first + second)
    whole = load(spec, size=8, channels=1, resident="no")
    assert len(whole) == 10_000

    running = start(spec, sys.maxsize, tmp_path)
    try:
        while any(len(lines(tmp_path, process)) < 6 for process in range(2)):
            assert all(program.poll() is None for program in running)
            time.sleep(0.1)
    finally:
        for program in running:
            program.send_signal(signal.SIGKILL)
            program.wait()
    seen = [len(lines(tmp_path, process)) for process in range(2)]
    last = max(*seen, 40)  # batches, which are an epoch
    assert [program.wait() for program in start(spec, last, tmp_path)] == [0, 0]

    unbroken = whole.batches(BATCH, SEED, indices=True)
    expected = [known[next(unbroken)["index"]].tolist() for _ in range(last)]
    assert sorted(k for batch in expected[:40] for k in batch) == list(range(10_000))
    for process in range(2):
        half = slice(BATCH // 2 * process, BATCH // 2 * (process + 1))
        taken = [line.split() for line in lines(tmp_path, process)]
        # A batch that was logged and whose state was not yet kept is there twice, alike.
        numbers = [int(line[0]) for line in taken]
        assert sorted(set(numbers)) == list(range(last))
        assert last <= len(numbers) <= last + 1
        for at, *pairs in taken:
            assert pairs == [f"{k}:{k % 7}" for k in expected[int(at)][half]]
    assert json.loads((tmp_path / "1.json").read_text()) == {"batch": last}
