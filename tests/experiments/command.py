"""Runs experiments as their users do, at toy size."""

import json
import os
import socket
import subprocess
import sys
import time

TINY = [
    *("--size", "8", "--batch-size", "8", "--width", "2", "--critic-steps", "2"),
    *("--critic-boost", "2", "--log-every", "1", "--sample-every", "20", "--save-every", "20"),
]


def start(*args, module="jaxgen.experiments.wgan", cwd=None, **env):
    """A process that runs `python -m module args`, with a pipe for all that it says."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env={**os.environ, **{k: str(v) for k, v in env.items()}},
    )


def run(*args, code=0, **options):
    """What the command said, once it has ended with the exit code `code`."""
    process = start(*args, **options)
    text, _ = process.communicate(timeout=300)
    assert process.returncode == code, text
    return text


def cluster(*args, processes=2, devices=2, **options):
    """The processes of one multi-host run on this machine."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    return [
        start(
            *args,
            "--multihost",
            JAX_COORDINATOR_ADDRESS=f"localhost:{port}",
            JAX_NUM_PROCESSES=processes,
            JAX_PROCESS_ID=i,
            JAX_NUM_CPU_DEVICES=devices,
            **options,
        )
        for i in range(processes)
    ]


def finish(processes):
    for process in processes:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text


def kill_after(folder, round, processes):
    """kill -9 once some rounds past checkpoint `round` are logged."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        logged = metrics(folder)
        if (folder / "checkpoints" / str(round)).is_dir() and logged[-1]["round"] > round + 2:
            break
        assert all(p.poll() is None for p in processes), processes[0].communicate()[0]
        time.sleep(0.02)
    for process in processes:
        process.kill()
        process.communicate()


def metrics(folder):
    """The lines of metrics.jsonl without what the clock says."""
    timed = ("seconds", "images_per_second", "data_wait")
    path = folder / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:  # half a line
            continue
    return [{k: v for k, v in record.items() if k not in timed} for record in records]
