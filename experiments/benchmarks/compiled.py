"""Paper recipes as compiled: `python experiments/benchmarks/compiled.py --target gpu:h100:4`.

For each system its paper's recipe is compiled for the target, on data of the same kind that are at
hand, and a line of the table has its memory on a device, a device's share of the work of an average
round, and of the fullest round what devices exchange, the library's functions, and what is written
by copies that change layouts and by padding.  What has been compiled
is kept in the file: the same command goes on with the rest.  The target's compiler is needed, not
the device (see docs/planning.md).
"""

import importlib
import json
import shlex
from pathlib import Path

import tyro

from jaxgen.commands.terminal import one_line

# Flags beside the recipe, for data that are at hand.
RECIPES = {
    "gan": "--data mnist5k",
    "dcgan": "--data faces",
    "wgan": "--data faces",
    "wgan_gp": "--data faces --size 32",
    "cgan": "--data mnist5k",
    "icgan": "--data faces-edits:200",
    "lapgan": "--data faces:200",
    "progan": "--data faces:200",
    "stackgan": "--data faces:200",
    "stylegan": "--data faces:200 --size 256",
    "stylegan2": "--data faces --size 256 --base 16384 --batch-size 64",
    "biggan": "--data animals --channels 3",
    "gan3d": "--data shapes3d",
    "gaussian": "--data mnist5k",
    "autoencoder": "--data mnist5k",
    "vae": "--data mnist5k",
    "beta_tcvae": "--data sprites",
    "pixelcnn": "--data mnist5k",
    "realnvp": "--data faces",
    "ebm": "--data faces",
    "pix2pix": "--data emoji-lines --batch-size 4",
    "cyclegan": "--data emoji-domains --batch-size 4",
    "srgan": "--data faces:200",
    "clip": "--data faces:200",
}


def planned(name: str, target: str) -> list[dict]:
    """The plans of one system, a stage each."""
    from jaxgen.commands.arguments import parse
    from jaxgen.commands.launch import plan

    module = importlib.import_module(f"jaxgen.experiments.{name}")
    file = Path(__file__).parents[1] / name / "paper.toml"
    words = ["--recipe", str(file), "--precision", "bfloat16", *shlex.split(RECIPES[name])]
    args = parse(module.Args, f"jaxgen.experiments.{name}", [*words, "--plan", target])
    return [x.to_json() for x in plan(f"jaxgen.experiments.{name}", module.system, args, 0)]


def table(found: dict[str, list[dict]]) -> str:
    head = (
        *("round", "batch", "temporary + states, GiB", "GFLOP a device", "MB moved a device"),
        *("exchanges", "library calls", "layout changes", "padded", "compiled in"),
    )
    rows = [head, ["---"] * len(head)]
    count = lambda two: f"{two[0]}, {two[1] / 1e6:.0f} MB"
    for name, plans in found.items():
        for x in plans:
            images = x.get("images", x["batch_size"]) / x["count"]
            rows.append(
                [
                    f"{name} {x['stage']}".strip(),
                    str(x["batch_size"]),
                    f"{x['temporary'] / 2**30:.2f} + {x['arguments'] / 2**30:.2f}",
                    f"{x['flops'] * images / 1e9:,.0f}",
                    f"{x['bytes'] * images / 1e6:,.0f}",
                    str(sum(n for n, _ in x["collectives"].values())),
                    str(sum(n for k, n in x["calls"].items() if k.startswith("__cu"))),
                    count(x["changes"]),
                    count(x["pads"]),
                    f"{x['compile_seconds']:.0f} s",
                ]
            )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(
    target: str = "tpu:v5e:2x2", out: Path = Path("runs/compiled"), names: tuple[str, ...] = ()
):
    """Compiles and prints the table.

    Args:
        target: such as tpu:v5e:2x2 or gpu:h100:4.
        out: folder of the numbers.
        names: of the systems; all by default.
    """
    file = out / f"{target.replace(':', '-')}.json"
    found = json.loads(file.read_text()) if file.is_file() else {}
    for name in names or RECIPES:
        if name not in found:
            print(f"{name} ...", flush=True)
            found[name] = planned(name, target)
            out.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    with one_line("compiled"):
        tyro.cli(main)
