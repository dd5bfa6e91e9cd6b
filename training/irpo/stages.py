"""A stage of a run: done once, its files noted with checksums, skipped when the run goes on. Knows no algorithm."""

import gc
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from training.dataset.artifacts import MANIFEST, file_sha256, write_json
from training.dataset.jsonl import DataError
from training.irpo.workers import is_main, several


@dataclass(frozen=True)
class Stage:
    """`ran` is False where its files were already there."""

    epoch: int
    name: str
    ran: bool


class Epoch:
    """The folder of one epoch; its manifest.json says which stages are finished, and what each left."""

    def __init__(self, run: Path, number: int) -> None:
        self.number, self.folder = number, run / f"epoch-{number:02d}"
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / MANIFEST
        self._stages: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def latest(self, count: int) -> list["Epoch"]:
        """The last `count` epochs that trained, or as many as there are; this one comes last."""
        numbers = range(max(1, self.number - count + 1), self.number)
        return [*(Epoch(self.folder.parent, number) for number in numbers), self]

    def once(self, name: str, work: Callable[[], object], *, leaves: Iterable[str], shared: bool = False) -> Stage:
        """Run `work` unless it is done; `leaves` are files and folders that stand in the epoch's folder afterwards.

        A `shared` stage may be worked on by several processes, of which the main one notes it down. Raises DataError
        where a finished stage's files are not as it left them, and where several processes began another stage.
        """
        if name in self._stages:
            self._check(name)
            return Stage(self.number, name, ran=False)
        if several() and not shared:
            raise DataError(f"the stage {name!r} is for one process: start the run without a launcher, with --launch")
        work()
        free()
        if not is_main():
            return Stage(self.number, name, ran=True)
        self._stages[name] = {path: file_sha256(self.folder / path) for path in self._files(leaves)}
        write_json(self.folder / MANIFEST, self._stages)
        return Stage(self.number, name, ran=True)

    def _files(self, leaves: Iterable[str]) -> list[str]:
        found: list[Path] = []
        for leaf in leaves:
            path = self.folder / leaf
            found += sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        return [path.relative_to(self.folder).as_posix() for path in found if path.name != "timing.json"]

    def _check(self, name: str) -> None:
        for path, expected in self._stages[name].items():
            file = self.folder / path
            if not file.is_file() or file_sha256(file) != expected:
                raise DataError(
                    f"{self.folder.name}/{path} is not what the stage {name!r} left there."
                    f" Delete {self.folder.name} and what follows it to do it again."
                )


def free() -> None:
    """Return the memory of the GPU that models took which nobody holds any more."""
    import torch

    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
