"""Files of a run: written whole or not at all, checksums, and whose run a folder holds. Knows no run in particular."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from training.dataset import jsonl

MANIFEST = "manifest.json"
RESULT = "result.json"  # what a training or an evaluation ended with; appears when it has


class RunRefused(ValueError):
    """The folder holds another run, or one that nobody asked to go on with."""


def claim(out: Path, manifest: dict[str, Any], *, resume: bool) -> None:
    """Make the folder this run's own, or find that it is. Raises RunRefused."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / MANIFEST
    if not path.exists():
        write_json(path, manifest)
        return
    there = read_json(path)
    asked = json.loads(json.dumps(manifest))
    if differences := list(_differences(there, asked)):
        raise RunRefused(f"{out} holds another run ({'; '.join(differences)}); choose another folder.")
    if not resume:
        raise RunRefused(f"{out} already holds this run; go on with it by --resume, or choose another folder.")


def read_json(path: Path) -> Any:
    """Raises RunRefused where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise RunRefused(f"{path} is not JSON; choose another folder.") from None


def _differences(there: Any, asked: Any, name: str = "") -> Iterator[str]:
    if isinstance(there, dict) and isinstance(asked, dict):
        for key in sorted(there.keys() | asked.keys()):
            yield from _differences(there.get(key), asked.get(key), f"{name}.{key}" if name else key)
    elif there != asked:
        yield f"{name} is {there!r} there and {asked!r} here"


def write_json(path: Path, content: Any) -> None:
    scratch = path.with_name(path.name + ".part")
    scratch.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(scratch, path)


def rows_sha256(rows: Iterable[Any]) -> str:
    """Of records, as they stand in a file."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(jsonl.dump(row).encode())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
