"""When training has gone wrong: a figure that is no number, or a policy clearly worse than the best one so far.

Every policy answers the same test questions under the same bids, so policies are compared question by question. Worse
is *clearly* worse where the difference is larger than chance allows and larger than what matters. Knows no files.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LEVEL = 0.01  # chance of one false alarm in a whole run whose policies are all alike
DRAWS_PER_ALARM = 10  # at the corrected level, so that p can fall below it
CHUNK = 1000  # draws that are held in memory together


@dataclass(frozen=True)
class Answered:
    """What a policy made of the Q test questions, in one order for all policies; each array (Q,)."""

    epoch: int
    users: Sequence[str]  # who asked each: the questions of one user are not independent
    revenue: np.ndarray  # of an answer: bid x the user's chance where that is known, bid x click otherwise
    ads: np.ndarray  # shown
    errors: np.ndarray  # 1 where an answer has a format error


@dataclass(frozen=True)
class Watched:
    """A figure that tells of collapse: how it reads, and how much worse its mean must be to matter."""

    title: str
    sign: int  # -1 where more is worse
    least_share: float = 0.0  # of the best policy's mean that must be left
    most_more: float = math.inf  # how far above it the mean may be


# Fewer ads are a success as long as they earn more: only near silence is a collapse.
FIGURES = {
    "revenue": Watched("revenue an answer", 1, least_share=0.75),
    "ads": Watched("ads an answer", 1, least_share=0.1),
    "errors": Watched("of the answers with format errors", -1, most_more=0.2),
}


def not_a_number(metrics: Mapping[str, Any], name: str = "") -> str | None:
    """The first figure, by its name, that is NaN or infinite."""
    for key, value in metrics.items():
        path = f"{name}.{key}" if name else key
        if isinstance(value, Mapping):
            if found := not_a_number(value, path):
                return found
        elif isinstance(value, float) and not math.isfinite(value):
            return f"{path} is {value}"
    return None


def collapsed(now: Answered, kept: Sequence[Answered], *, epochs: int) -> str | None:
    """Why the policy of `now` must not be kept; `kept` are those before it, theta_0 first, of `epochs` to come in all.

    The best of them is the one that earns most. Having been chosen for it, it looks better than it is: the level is
    therefore divided by all pairs of policies that the run may compare, and by the figures watched.
    """
    best = max(kept, key=lambda one: one.revenue.mean())
    level = LEVEL / (len(FIGURES) * epochs * (epochs + 1) / 2)
    reasons = []
    for name, watched in FIGURES.items():
        found, wanted = getattr(now, name), getattr(best, name)
        if not _matters(watched, found.mean(), wanted.mean()):
            continue
        p = chance_of_so_low(watched.sign * (found - wanted), users=now.users, level=level)
        if p < level:
            reasons.append(f"{found.mean():.3g} {watched.title}, after {wanted.mean():.3g} (p {p:.1g})")
    if not reasons:
        return None
    against = f"against epoch {best.epoch} over {len(now.revenue)} questions"
    return f"collapsed in epoch {now.epoch}: {'; '.join(reasons)}, {against}"


def _matters(watched: Watched, found: float, wanted: float) -> bool:
    return found < watched.least_share * wanted or found > wanted + watched.most_more


def chance_of_so_low(differences: np.ndarray, *, users: Sequence[str], level: float, seed: int = 0) -> float:
    """P-value of a paired sign-flip test: how often were a sum as low as this, were every user's sign a coin's?

    No shape of the differences is assumed, only that users are independent. It never falls below one in the draws.
    """
    _, numbers = np.unique(np.asarray(users), return_inverse=True)
    sums = np.bincount(numbers, weights=differences)
    sums = sums[sums != 0]
    draws = math.ceil(DRAWS_PER_ALARM / level)
    observed = sums.sum() + 1e-9 * np.abs(sums).sum()  # sums of the same numbers may round differently
    rng, as_low = np.random.default_rng(seed), 0
    for start in range(0, draws, CHUNK):
        flipped = rng.integers(0, 2, size=(min(CHUNK, draws - start), len(sums)), dtype=np.int8)
        as_low += int((sums.sum() - 2 * (flipped @ sums) <= observed).sum())
    return (1 + as_low) / (1 + draws)
