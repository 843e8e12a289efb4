"""Reads what XLA has compiled: what is executed, how often, and what it moves.

`compiled.as_text()` is the program after all of XLA's passes.  XLA's own count of bytes takes a
loop for one pass and says nothing for a GPU; here loops count as often as they run.
"""

import dataclasses
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property

BITS = {"pred": 8, "token": 0, "opaque": 0, "s4": 4, "u4": 4, "s2": 2, "u2": 2}
FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("partition-id", "replica-id", "optimization-barrier", "iota", "domain"),
}
CONTROL = {"while", "call", "conditional"}
COLLECTIVES = {
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    *("collective-broadcast", "ragged-all-to-all"),
}
SLICES = {"dynamic-slice", "gather", "slice"}

_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\((.*)$")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,<=]*)\](?:\{([^}]*)\})?")
_CALLED = re.compile(r"(?:calls|to_apply|body)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"(?:branch_computations=\{([^}]*)\}|_computation=%?([\w.\-]+))")
_SCRATCH = re.compile(r", [su]8\[\d+\]\{0\}\)$")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass
class Instruction:
    """One line of a program.  type: such as `f32[8,32]{1,0}`; rest: attributes behind the
    operands."""

    name: str
    type: str
    opcode: str
    operands: list[str]
    rest: str
    root: bool

    @cached_property
    def size(self) -> int:
        """Bytes of the result in the device's main memory.  What lies elsewhere, such as in a TPU's
        vector memory (`S(1)`), counts nothing, nor does the scratch space of a library's call."""
        return size(_SCRATCH.sub("", self.type) if self.target else self.type, elsewhere=False)

    @property
    def op_name(self) -> str:
        """Where in the source it comes from: names of scopes, networks and operations."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def target(self) -> str:
        """The library's function that a custom call calls; else empty."""
        found = re.search(r'custom_call_target="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def collective(self) -> str:
        """The kind of exchange between devices of which it has the result; else empty."""
        kind = self.opcode.removesuffix("-done")
        return kind if kind in COLLECTIVES else ""


def size(type: str, elsewhere: bool = True) -> int:
    """Bytes of a type; with `elsewhere=False` without what lies outside the main memory."""
    total = 0
    for kind, sides, layout in _ARRAY.findall(type):
        if not elsewhere and re.search(r"S\([1-9]", layout):
            continue
        n = _count(sides)
        digits = re.search(r"\d+", kind)
        bits = BITS.get(kind, int(digits[0]) if digits else 0)
        total += n * bits // 8
    return total


def _count(sides: str) -> int:
    return math.prod(int(side or 1) for side in sides.replace("<=", "").split(","))


def _elements(type: str) -> set[int]:
    """The numbers of elements of a type's arrays."""
    return {_count(sides) for _, sides, _ in _ARRAY.findall(type)}


def scope_of(name: str, scopes: tuple[str, ...]) -> str:
    """The first of the scopes in a name such as `jit(f)/vmap(turn:critic)/dot`; else empty."""
    parts = re.split(r"[/()]", name)
    return next((scope for scope in scopes if scope in parts), "")


class Program:
    """A compiled program, from its text.  scopes: names of `jax.named_scope` to be told apart."""

    def __init__(self, text: str, scopes: tuple[str, ...] = ()):
        self.scopes = scopes
        self.computations: dict[str, dict[str, Instruction]] = {}
        here: dict[str, Instruction] = {}
        for line in text.splitlines():
            if begins := _COMPUTATION.match(line):
                here = self.computations[begins[2]] = {}
                if begins[1]:
                    self.entry = begins[2]
            elif found := _INSTRUCTION.match(line):
                root, name, type, opcode, rest = found.groups()
                inside, rest = _split(rest)
                operands = re.findall(r"%([\w.\-]+)", inside)
                if opcode == "constant":
                    rest = f"{inside} {rest}"
                here[name] = Instruction(name, type, opcode, operands, rest, bool(root))

    def executed(
        self, computation: str | None = None, times: int = 1, scope: str = ""
    ) -> Iterator[tuple[Instruction, dict[str, Instruction], int, str]]:
        """(instruction, its computation, how often it runs, its scope), without what costs nothing;
        of branches the one that moves the most.  What the compiler has added inside a loop or a
        branch has no scope of its own, and then that of all the others there."""
        here = self.computations[computation or self.entry]
        for x in here.values():
            if x.opcode in FREE:
                continue
            own = scope or scope_of(x.op_name, self.scopes)
            if x.opcode not in CONTROL:
                yield x, here, times, own
                continue
            inner = times * (self._trips(x) if x.opcode == "while" else 1)
            called = self.called(x)
            if x.opcode == "conditional":
                called = [max(called, key=self._moved)]
            for name in called:
                yield from self.executed(name, inner, own or self._only_scope(name))

    def _only_scope(self, computation: str) -> str:
        found = {own for *_, own in self.executed(computation) if own}
        return found.pop() if len(found) == 1 else ""

    def called(self, x: Instruction) -> list[str]:
        """The computations that an instruction plays."""
        if x.opcode == "conditional":
            lists = (a or b for a, b in _BRANCHES.findall(x.rest))
            return [name.strip(" %") for names in lists for name in names.split(",")]
        return _CALLED.findall(x.rest)

    def moved(self, x: Instruction, here: dict[str, Instruction]) -> int:
        """Bytes that an instruction reads and writes.  Of what is sliced inside it only the slices
        count."""
        if x.opcode.endswith("-done"):
            return 0
        if x.opcode == "dynamic-update-slice":
            return 2 * here[x.operands[1]].size
        if x.opcode in ("all-gather-start", "collective-permute-start", "copy-start"):
            return x.size  # a pair of what is read and what is written
        operands = [here[name].size for name in x.operands if name in here]
        if x.opcode in SLICES:
            return 2 * x.size
        if x.opcode != "fusion":
            return x.size + sum(operands)
        inside = self.computations[self.called(x)[0]]
        read, written = 0, x.size
        readers = defaultdict(list)
        for y in inside.values():
            for name in y.operands:
                readers[name].append(y)
        for name, y in inside.items():
            if y.opcode == "parameter":
                users = readers[name]
                sliced = all(u.opcode in SLICES and u.operands[0] == name for u in users)
                updated = all(
                    u.opcode == "dynamic-update-slice" and u.operands[0] == name for u in users
                )
                if users and updated:  # in place
                    written -= y.size - sum(inside[u.operands[1]].size for u in users)
                elif users and sliced:
                    read += sum(u.size for u in users)
                else:
                    read += y.size
        return read + max(written, 0)

    def _moved(self, computation: str) -> int:
        return sum(n * self.moved(x, here) for x, here, n, _ in self.executed(computation))

    def _trips(self, x: Instruction) -> int:
        if found := _TRIPS.search(x.rest):
            return int(found[1])
        condition = re.search(r"condition=%?([\w.\-]+)", x.rest)
        inside = self.computations[condition[1]].values() if condition else ()
        numbers = [y.rest.split()[0] for y in inside if y.opcode == "constant"]
        return int(numbers[0]) if len(numbers) == 1 and numbers[0].isdigit() else 1


def _split(text: str) -> tuple[str, str]:
    """What is inside the bracket that is open at the start, and what is behind it."""
    depth = 1
    for i, c in enumerate(text):
        depth += {"(": 1, ")": -1}.get(c, 0)
        if not depth:
            return text[:i], text[i + 1 :]
    return text, ""


@dataclasses.dataclass
class Traffic:
    """What a program moves in one call.

    bytes: read and written in a device's memory, by scope (see `scopes` of `traffic`).
    collectives: {kind: [how many, bytes of their results]}.
    calls: {library function: how many}.
    changes: [how many, bytes written] of transpositions and copies, which change layouts.
    pads: the same of padded arrays; of those inside a fusion, if a result has as many elements.
    """

    bytes: dict[str, float]
    collectives: dict[str, list[int]]
    calls: dict[str, int]
    changes: list[int]
    pads: list[int]


def traffic(text: str, scopes: tuple[str, ...] = ()) -> Traffic:
    """Reads a compiled program.  scopes: names of `jax.named_scope`; what is in none is in ""."""
    program = Program(text, scopes)
    moved: dict[str, float] = defaultdict(float)
    collectives: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    calls: dict[str, int] = defaultdict(int)
    changes, pads, carried = [0, 0], [0, 0], set()
    for x, here, times, scope in program.executed():
        moved[scope] += times * program.moved(x, here)
        inside = program.called(x) if x.opcode == "fusion" else []
        fused = [y for name in inside for y in program.computations[name].values()]
        for y in [x, *fused]:
            if kind := y.collective:
                if y is not x:  # carried, in flight, through several fusions
                    if (same := (kind, y.op_name, y.rest[:40])) in carried:
                        continue
                    carried.add(same)
                collectives[kind][0] += times
                collectives[kind][1] += times * size(y.type)
            turned = y.opcode == "transpose" or (y is x and y.opcode == "copy")
            whole = y is x or _elements(y.type) & _elements(x.type)
            if turned or (y.opcode == "pad" and whole):
                found = changes if turned else pads
                found[0] += times
                found[1] += times * size(y.type)
        if x.target:
            calls[x.target] += times
    return Traffic(dict(moved), dict(collectives), dict(calls), changes, pads)
