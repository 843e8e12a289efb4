"""A user's table of captions, labels and attributes: `metadata.jsonl` or `metadata.csv`."""

import csv
import dataclasses
import io
import json
import math
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxgen.data.images import read_bytes
from jaxgen.errors import UserError

TABLES = ("metadata.jsonl", "metadata.csv")
NAMED = ("file_name", "caption", "text", "label")


@dataclasses.dataclass(frozen=True)
class Metadata:
    """By file, what a table says; an entry of the table is there for every image, or for none.

    attributes: whole numbers, in the order of `attribute_names`.
    unused: the columns that are neither known nor whole numbers.
    """

    table: Path | None = None
    captions: dict[Path, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    labels: dict[Path, str] = dataclasses.field(default_factory=dict)
    attributes: dict[Path, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    attribute_names: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def said(self, file: Path) -> tuple[str, ...]:
        """All that it says of one file, for a fingerprint."""
        texts = self.captions.get(file, ())
        whole = texts if len(texts) < 2 else (json.dumps(texts),)
        others = (self.labels.get(file), self.attributes.get(file))
        return (*whole, *(str(other) for other in others if other is not None))


def name_in(file: Path, base: Path) -> str:
    """The file's name relative to `base`, in the one spelling (Unicode's NFC) that does not depend
    on the file system."""
    return unicodedata.normalize("NFC", str(file.relative_to(base)))


def read(base: Path, files: Sequence[Path]) -> Metadata:
    """Contents of the table in `base`, by its image files; empty without one.

    A file may stand in several rows, or have a list of captions.  UserError for a row or an image
    that does not fit.
    """
    tables = [base / name for name in TABLES if (base / name).is_file()]
    if not tables:
        return Metadata()
    table, *others = tables
    if others:
        raise UserError(f"{base} has {' and '.join(TABLES)}; keep one of them")
    known = {name_in(file, base): file for file in files}
    if len(known) < len(files):
        twice = next(file for file in files if known[name_in(file, base)] != file)
        raise UserError(f"{twice} is the name of two files, spelled in two ways; rename one")
    if not (rows := list(_rows(table))):
        raise UserError(f"{table} has no rows; give one to each image, or take it away")
    numbers, unused = _numbers(table, rows)
    captions: dict[Path, list[str]] = {}
    labels: dict[Path, str] = {}
    attributes: dict[Path, tuple[int, ...]] = {}
    for line, row in rows:
        where = f"{table}, line {line}"
        texts, label = captions_of(row), row.get("label")
        label = None if label in (None, "") else str(label)
        if not isinstance(row.get("file_name"), str) or not (texts or numbers or label):
            raise UserError(f'{where}: give "file_name" and "caption" (or "text")')
        path = base / row["file_name"]
        file = known.get(name_in(path, base)) if path.is_relative_to(base) else None
        if file is None:
            raise UserError(
                f"{table} names {row['file_name']}, which is not there; give names relative to "
                f"{base}"
            )
        captions[file] = captions.get(file, []) + texts
        values = tuple(numbers[name][line] for name in numbers)
        if attributes.setdefault(file, values) != values:
            raise UserError(
                f"{where} has other attributes of {row['file_name']} than a line before"
            )
        if label and labels.setdefault(file, label) != label:
            raise UserError(f"{where} has another label of {row['file_name']} than a line before")
    captions = {file: texts for file, texts in captions.items() if texts}
    for what, found in (("caption", captions), ("label", labels), ("attributes", attributes)):
        for file in files:
            if found and file not in found:
                raise UserError(
                    f"{table} has no {what} for {file.relative_to(base)}; add a line or move it "
                    "away"
                )
    return Metadata(
        table,
        {file: tuple(texts) for file, texts in captions.items()},
        labels,
        attributes if numbers else {},
        tuple(numbers),
        tuple(unused),
    )


def captions_of(row: dict[str, Any]) -> list[str]:
    """The row's captions; empty where it has none, or something else in their place."""
    given = row.get("caption", row.get("text"))
    texts = given if isinstance(given, list) else [given]
    known = [text for text in texts if isinstance(text, str)]
    return known if len(known) == len(texts) else []


def _numbers(
    table: Path, rows: list[tuple[int, dict[str, Any]]]
) -> tuple[dict[str, dict[int, int]], list[str]]:
    """The columns of whole numbers, by name and line, and the names of the others that are not
    known.  UserError for a column with a whole number somewhere, and something else elsewhere."""
    columns = dict.fromkeys(name for _, row in rows for name in row)
    known = NAMED if "caption" not in columns else [name for name in NAMED if name != "text"]
    numbers, unused = {}, []
    for name in (name for name in columns if name not in known):
        found = {line: _whole(row.get(name)) for line, row in rows}
        if all(number is None for number in found.values()):
            unused.append(name)
            continue
        for line, row in rows:
            if found[line] is None:
                value = row.get(name)
                said = "missing" if value in (None, "") else f"{value}"
                raise UserError(
                    f"{table}, line {line}: {name} is {said}; attributes are whole numbers (of 32 "
                    "bits) in every line; mend it, or remove the column"
                )
        numbers[name] = found
    return numbers, unused


def _whole(value: Any) -> int | None:
    """The whole number of 32 bits that the cell holds; None for anything else."""
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return int(number) if abs(number) < 2**31 and number == int(number) else None


def _rows(table: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of a .jsonl or .csv file."""
    try:
        text = read_bytes(table).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{table} is not UTF-8 text; save it as UTF-8") from None
    return _csv(table, text) if table.suffix == ".csv" else _jsonl(table, text)


def _csv(table: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            where = f"{table}, line {line}"
            if not columns:
                columns = [name.strip() for name in cells]
                if columns and "file_name" not in columns:
                    raise UserError(
                        f"{where} names the columns {', '.join(columns)}, and no file_name; name "
                        "them, with commas between"
                    )
                if len(set(columns)) < len(columns):
                    raise UserError(f"{where} names a column twice; give each a name of its own")
            elif cells and len(cells) != len(columns):
                raise UserError(
                    f"{where} has {len(cells)} cells, and there are {len(columns)} columns; put a "
                    "text that has a comma in double quotes"
                )
            elif cells:
                yield line, dict(zip(columns, cells, strict=True))
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{table}, line {line} is not CSV ({error}); mend its quotes") from None


def _jsonl(table: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, part in enumerate(text.split("\n"), 1):  # a caption may hold U+2028
        if not part.strip():
            continue
        try:
            row = json.loads(part)
        except json.JSONDecodeError as error:
            raise UserError(f"{table}, line {line} is not JSON ({error.msg})") from None
        if not isinstance(row, dict):
            raise UserError(f"{table}, line {line} is not a JSON object")
        yield line, row
