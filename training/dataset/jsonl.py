"""Read and write records as JSON Lines. Knows no record in particular; names file and line when one is wrong.

A finished file appears at once, by renaming. A file that grows over hours grows under the name `FILE.part`, and a run
that was killed goes on behind its last whole line.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import TypeAdapter, ValidationError

Row = TypeVar("Row")


class DataError(ValueError):
    """A file does not hold what it should; says the file, the line and what is wrong."""


@cache
def _adapter(kind: type[Row]) -> TypeAdapter[Row]:
    return TypeAdapter(kind)


def parse(kind: type[Row], line: str) -> Row:
    """One record of a line. Raises DataError; unknown fields are refused, so that a misspelt one is noticed."""
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(values, dict):
        raise DataError("not a JSON object")
    if unknown := values.keys() - kind.__dataclass_fields__.keys():
        raise DataError(f"unknown field {sorted(unknown)[0]!r}")
    try:
        return _adapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{'.'.join(map(str, first['loc'])) or 'record'}: {first['msg']}") from None


def numbered(kind: type[Row], path: Path) -> Iterator[tuple[int, Row]]:
    """The records of a file with their line numbers, in order. Raises DataError with file and line number."""
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield number, parse(kind, line)
                    except DataError as error:
                        raise DataError(f"{path.name}:{number}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: {error}") from None


def read(kind: type[Row], path: Path) -> Iterator[Row]:
    """The records of a file, in order. Raises DataError with file and line number."""
    return (row for _, row in numbered(kind, path))


def dump(row: Any) -> str:
    """One line, the same bytes for the same record."""
    return json.dumps(asdict(row), ensure_ascii=False, separators=(", ", ": ")) + "\n"


def write(path: Path, rows: Iterable[Any]) -> None:
    """All rows or no file."""
    scratch = path.with_name(path.name + ".part")
    with scratch.open("w", encoding="utf-8") as file:
        file.writelines(map(dump, rows))
        _flush(file)
    os.replace(scratch, path)


def _flush(file: TextIO) -> None:
    file.flush()
    os.fsync(file.fileno())


class Growing:
    """A file that is being written: how many rows it holds, and how to add more."""

    def __init__(self, file: TextIO, count: int) -> None:
        self._file, self.count = file, count

    def add(self, rows: Iterable[Any]) -> None:
        """Append the rows and make sure that they last."""
        for row in rows:
            self._file.write(dump(row))
            self.count += 1
        _flush(self._file)


def _take(file: TextIO, path: Path) -> None:
    """Hold the file until it is closed. It may have been finished, and renamed, after we opened it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine = os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:
        mine = False
    if not mine:
        raise DataError(f"{path.name} is being written by another process")


@contextmanager
def growing(path: Path) -> Iterator[Growing]:
    """Go on with `FILE.part`, a broken last line cut away; when the block ends without an error, it becomes FILE.

    Raises DataError while another process, or another thread of this one, lets it grow.
    """
    scratch = path.with_name(path.name + ".part")
    with scratch.open("a", encoding="utf-8") as file:
        _take(file, scratch)
        content = scratch.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        os.truncate(scratch, len(whole))
        yield Growing(file, whole.count(b"\n"))
        _flush(file)
    os.replace(scratch, path)
