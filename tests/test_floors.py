"""The floors of the house: an import goes downwards only, and there are no circles."""

import ast
import graphlib
from pathlib import Path

import jaxgen

ROOT = Path(jaxgen.__file__).parent

# From the bottom; what stands on one floor may import its neighbours on it, but in no circle.
FLOORS = (
    (
        *("errors", "files", "draw", "parallel", "latents", "pictures", "progress", "solids"),
        "compiling",
    ),
    ("nn", "models", "losses", "metrics"),
    ("data", "weights", "sample"),
    ("train",),
    ("systems",),
    ("runs", "evaluate", "planning"),
    ("experiments", "commands", "__main__"),
)
LEVEL = {name: i for i, floor in enumerate(FLOORS) for name in floor}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def imports(tree, known):
    """The modules of jaxgen that are imported, also inside functions; not those for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxgen":
            base = node.module.removeprefix("jaxgen").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield inner if inner in known else base
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("jaxgen."):
                    yield alias.name.removeprefix("jaxgen.")


def graph():
    trees = dict(modules())
    return {name: {x for x in imports(tree, trees) if x} for name, tree in trees.items() if name}


def test_imports_go_downwards():
    wrong = []
    for name, imported in graph().items():
        own = name.split(".")[0]
        for other in imported:
            if LEVEL[other.split(".")[0]] > LEVEL[own]:
                wrong.append(f"{name} imports {other}")
    assert not wrong, wrong


def test_there_are_no_circles():
    graphlib.TopologicalSorter(graph()).prepare()


def test_only_commands_and_experiments_name_flags_in_errors():
    """The library's errors say what is wrong; flags belong to commands."""
    wrong = []
    for name, tree in modules():
        if name.split(".")[0] in ("commands", "experiments", "__main__"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error"):
                said = " ".join(
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                )
                if " --" in said or said.startswith("--"):
                    wrong.append(f"{name}: {said[:100]}")
    assert not wrong, "\n".join(wrong)
