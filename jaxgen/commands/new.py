"""`python -m jaxgen new NAME --like EXPERIMENT`: the files of a new paper, begun as copies.

There is no template that could grow old: the files are those of an experiment, with the name
replaced where it stands for them, so that what the tests promise of one holds for the other.
"""

import ast
import builtins
import difflib
import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from jaxgen.commands.terminal import listed, writing
from jaxgen.errors import UserError

CITATION = "TODO: title (authors, year), https://arxiv.org/abs/0000.00000."
DOCSTRINGS = {  # of the modules that are copied, by the start of their path
    "jaxgen/models": "TODO: the networks of {name} (authors, year), https://arxiv.org/abs/0000.00000.",
    "jaxgen/systems": f"{CITATION}\n\nTODO: the objective as one formula, with its number in the "
    "paper.\n\nDeviations.  TODO: each, with its reason.\n",
    "jaxgen/experiments": "{name}: `python -m jaxgen.experiments.{name}`.",
    "tests/models": "TODO: the networks of {name} against the paper's code.",
    "tests/systems": "TODO: what makes {name} itself.",
}
RECIPE = (
    "# TODO: the setting of the paper, where it differs from the defaults; these are {like}'s.\n"
)
CONTRACT = Path("tests/test_contract.py")


def new(
    name: Annotated[Positional[str], arg(metavar="NAME")],
    *,
    like: Annotated[str, arg(metavar="EXPERIMENT")] = "dcgan",
) -> str:
    """The files of a new paper, begun as copies of an experiment's, in a clone of the repository.

    Networks, system, experiment, recipes and tests that are named after the experiment are copied
    under the new name; a row is added to the contract test and to README.md, a line to
    CHANGELOG.md. TODO stands where the paper has to be told.

    Args:
        name: Name of the system, such as mygan.
        like: Experiment that is copied.
    """
    root = Path(__file__).parents[2]
    if not (root / CONTRACT).is_file():
        raise UserError(
            "new writes into a clone of jaxgen's repository, and this jaxgen is an installed one; "
            "start it in a clone's folder, or write one file of your own, as docs/own_gan.md shows"
        )
    texts = files(root, name, like)
    with writing(root, "make the clone one that you can write to", folder=True):
        for path, text in texts.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    test = f"python -m pytest tests -k {name}"
    next_step = f"next: `{test}` passes as it is; docs/add_a_paper.md says how to go on"
    return "\n".join([*map(str, texts), next_step])


def files(root: Path, name: str, like: str) -> dict[Path, str]:
    """The texts of the files that `new` writes, by their paths below `root`.  UserError."""
    rows = contract_rows(root)
    if like not in rows:
        near = difflib.get_close_matches(like, rows, 1)
        hint = f"did you mean {near[0]}?" if near else f"it is {listed(list(rows))}"
        raise UserError(f"--like {like} is no experiment that can be copied; {hint}")
    known = keyword.iskeyword(name) or name in dir(builtins)
    if known or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(
            f"{name!r} cannot be the name of a module; use small letters, digits and _, as in mygan"
        )
    if taken := next(named_after(root, name), None):
        raise UserError(f"there is {taken} already; take another name")
    made = {}
    for path in named_after(root, like):
        text = (root / path).read_text(encoding="utf-8")
        if re.search(rf"\b{name}\b", text):
            raise UserError(f"{path} has another use for the name {name}; take another name")
        parts = [name if part == like and i == 1 else part for i, part in enumerate(path.parts)]
        copy = Path(*parts).with_name(re.sub(rf"^(test_)?{like}\.", rf"\1{name}.", path.name))
        made[copy] = (
            _recipe(text, like) if path.suffix == ".toml" else _code(path, text, name, like)
        )
    return made | _lists(root, name, like, rows[like])


def named_after(root: Path, name: str) -> Iterator[Path]:
    """The files below `root` that are named after an experiment."""
    for pattern in (
        f"jaxgen/models/{name}.py",
        f"jaxgen/systems/*/{name}.py",
        f"jaxgen/experiments/{name}.py",
        f"experiments/{name}/paper.toml",
        f"tests/models/test_{name}.py",
        f"tests/systems/test_{name}.py",
    ):
        yield from (path.relative_to(root) for path in sorted(root.glob(pattern)))


def contract_rows(root: Path) -> dict[str, tuple[int, int]]:
    """First and last line of the contract test's row of each experiment that has its name."""
    tree = ast.parse((root / CONTRACT).read_text(encoding="utf-8"))
    assigned = {ast.unparse(x.targets[0]): x.value for x in tree.body if isinstance(x, ast.Assign)}
    rows: Any = assigned["ROWS"]
    return {
        key.value: (key.lineno, value.end_lineno or key.lineno)
        for key, value in zip(rows.keys, rows.values, strict=True)
        if key.value == value.elts[0].value
    }


def _code(path: Path, text: str, name: str, like: str) -> str:
    """A module's copy: renamed, with docstrings that say what is to be written."""
    tree, lines = ast.parse(text), text.encode().split(b"\n")
    for line, column in sorted(_uses(tree, lines, like), reverse=True):
        row = lines[line - 1]
        lines[line - 1] = row[:column] + name.encode() + row[column + len(like) :]
    lines = b"\n".join(lines).decode().split("\n")
    said = DOCSTRINGS["/".join(path.parts[:2])].format(name=name)
    for node in reversed(tree.body):
        if isinstance(node, ast.ClassDef) and node.name == "Args":
            doc = node.body[0]
            lines[doc.lineno - 1 : lines.index("", doc.lineno)] = [f'    """{CITATION}']
    doc = tree.body[0]
    lines[: doc.end_lineno] = f'"""{said}"""'.split("\n")
    own = rf"\b((?:models|experiments|systems\.\w+)\.|experiments/|runs/){like}\b"
    return re.sub(own, rf"\g<1>{name}", "\n".join(lines))


def _uses(tree: ast.Module, lines: list[bytes], like: str) -> Iterator[tuple[int, int]]:
    """(line, column) of the names in a module that stand for a file that is copied, or for the
    function in it."""
    own = re.compile(rf"jaxgen\.(models|experiments|systems\.\w+)(\.{like})?")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == like:
            yield node.lineno, node.col_offset
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == f"{like}.{like}":
            yield node.lineno, node.col_offset + len(f"{like}.")
        elif isinstance(node, ast.FunctionDef) and node.name == like:
            yield node.lineno, node.col_offset + len("def ")
        elif isinstance(node, ast.ImportFrom) and own.fullmatch(node.module or ""):
            yield from ((x.lineno, x.col_offset) for x in node.names if x.name == like)


def _recipe(text: str, like: str) -> str:
    """A recipe's copy, without the comments at its head."""
    return RECIPE.format(like=like) + re.sub(r"\A(#.*\n)+", "", text)


def _lists(root: Path, name: str, like: str, row: tuple[int, int]) -> dict[Path, str]:
    """The files that list all systems, with the new one after the old."""
    first, last = row
    lines = (root / CONTRACT).read_text(encoding="utf-8").split("\n")
    copy = [line.replace(f'"{like}"', f'"{name}"') for line in lines[first - 1 : last]]
    contract = "\n".join([*lines[:last], *copy, *lines[last:]])
    readme = (root / "README.md").read_text(encoding="utf-8")
    readme, rows = re.subn(
        rf"(^\| `{like}` \|.*\| (.*) \| .*\n)",
        rf"\1| `{name}` | TODO: title, authors year | \2 | not yet |\n",
        readme,
        flags=re.MULTILINE,
    )
    changes, lines = re.subn(
        r"^## Unreleased\n\n",
        rf"\g<0>- System: `{name}`.\n",
        (root / "CHANGELOG.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    if not rows or not lines:
        lacks = "CHANGELOG.md lacks ## Unreleased" if rows else f"README.md has no row of {like}"
        raise UserError(f"{lacks}; add it, and give the same command again")
    return {CONTRACT: contract, Path("README.md"): readme, Path("CHANGELOG.md"): changes}
