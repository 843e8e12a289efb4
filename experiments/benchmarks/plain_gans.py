"""The plain GANs on four sets: `python experiments/benchmarks/plain_gans.py [--help]`.

Each system trains with its defaults, and the flags given, on drawn faces, emoji, silhouettes of
animals and digits. The table has the last diversity that health has measured (1 is the data's, 0 is
one picture again and again) and the FID, by features of SqueezeNet, of samples after the training.
What has been trained and scored in the folder is kept: the same command goes on with the rest.
"""

import dataclasses
import importlib
import json
import shlex
from pathlib import Path
from typing import Any, Literal, get_args

import tyro

from jaxgen.commands.terminal import one_line
from jaxgen.errors import UserError

SystemName = Literal["gan", "dcgan", "wgan", "wgan_gp"]
SetName = Literal["faces", "emoji", "animals", "mnist5k"]
SYSTEMS: tuple[SystemName, ...] = get_args(SystemName)
SETS = {"faces": 3, "emoji": 3, "animals": 1, "mnist5k": 1}  # channels
SPECS = {"faces": "faces:6000"}  # where it is not the set's name


def play(system: str, data: str, share: float, samples: int, flags: str, folder: Path):
    """{diversity, FID} of one run."""
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import train

    name = f"jaxgen.experiments.{system}"
    module = importlib.import_module(name)
    workdir = folder / f"{system}-{data}"
    given = {"data": SPECS.get(data, data), "channels": SETS[data], "workdir": workdir}
    words = [str(x) for flag, value in given.items() for x in (f"--{flag}", value)]
    args = parse(module.Args, name, [*words, *shlex.split(flags)])
    rounds = max(100, round(share * args.rounds / 100) * 100)
    often = {"sample_every": rounds, "save_every": rounds}
    run = train(name, module.system, dataclasses.replace(args, rounds=rounds, **often))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    diversity = [x["health/diversity"] for x in lines if "health/diversity" in x][-1]
    return {"rounds": rounds, "diversity": diversity, **run.evaluate("fid", samples=samples)}


def table(found: dict[str, Any]) -> str:
    fid = lambda x: next(v for k, v in x.items() if k.lower().startswith("fid"))
    cell = lambda x: f"{x['diversity']:.2f}, {fid(x):.0f}" if x else "-"
    rows = [["diversity, FID", *SETS], ["---"] * (1 + len(SETS))]
    for system in SYSTEMS:
        rows.append([system, *(cell(found.get(f"{system} {data}")) for data in SETS)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(
    out: Path = Path("runs/plain_gans"),
    systems: tuple[SystemName, ...] = SYSTEMS,
    sets: tuple[SetName, ...] = get_args(SetName),
    share: float = 0.5,
    samples: int = 2000,
    flags: str = "",
):
    """Trains, scores, and prints the table.

    Args:
        out: folder of the runs and of numbers.json.
        systems: which of the four.
        sets: which of the four.
        share: of a system's own number of rounds.
        samples: that are scored.
        flags: of all the experiments, such as --flags="--size 64 --instance-noise 0".
    """
    numbers = out / "numbers.json"
    asked = {"share": share, "samples": samples, "flags": flags}
    found = json.loads(numbers.read_text()) if numbers.is_file() else {"asked": asked}
    if found["asked"] != asked:
        raise UserError(f"{out} was made with {found['asked']}; give the same, or another --out")
    for system in systems:
        for data in sets:
            if f"{system} {data}" not in found:
                found[f"{system} {data}"] = play(system, data, share, samples, flags, out)
                out.mkdir(parents=True, exist_ok=True)
                numbers.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    with one_line("plain_gans"):
        tyro.cli(main)
