"""Real feedback beside the simulated: by share, so that a little of it counts and much of it does not drown the rest.

Knows neither the database nor what the answers say.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.dataset.artifacts import file_sha256
from training.dataset.jsonl import DataError
from training.dataset.records import Ad, OnlineSample
from training.export.rows import read_feedback


@dataclass(frozen=True)
class RealFeedback:
    """A file of it, and how much of the online data it shall be: 0 < share < 1."""

    sha256: str
    share: float
    samples: tuple[OnlineSample, ...]
    ads: dict[str, Ad]

    def told(self) -> dict[str, Any]:
        """For the run's manifest: other bytes or another share are another run."""
        return {"sha256": self.sha256, "share": self.share}

    def drawn(self, simulated: int, *, seed: int | str) -> list[OnlineSample]:
        """As many answers, in the file's order, as make up the share beside so many simulated ones; all if too few."""
        wanted = round(self.share / (1 - self.share) * simulated)
        places = range(len(self.samples))
        chosen = random.Random(repr(("feedback", str(seed)))).sample(places, min(wanted, len(places)))
        return [self.samples[at] for at in sorted(chosen)]

    def report(self, drawn: Sequence[OnlineSample], *, simulated: int) -> dict[str, Any]:
        """What was mixed into one epoch; the file may have been too small for the share."""
        total = len(drawn) + simulated
        return self.told() | {"simulated": simulated, "real": len(drawn), "real_share": len(drawn) / max(1, total)}


def real_feedback(path: Path, *, share: float, known: dict[str, Ad]) -> RealFeedback:
    """The file, read and checked. Raises DataError, with line number, and for a share that is none."""
    if not 0 < share < 1:
        raise DataError(f"the share of real feedback must lie between 0 and 1, not at {share}")
    found = read_feedback(path, known=known)
    return RealFeedback(file_sha256(path), share, found.samples, found.ads)
