"""Is the pCTR unbiased? Assumption 4.1, checked on clicks that the fit never saw. Knows no model.

A group of shown ads is biased where its clicks differ from the sum of its pCTRs by more than chance allows, many groups
being looked at, and by more than matters. Clicks on the answers to one question share the model's error, so they count
as one draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import erfc, sqrt

import numpy as np

LEVEL = 0.01  # share of false alarms among the groups found, Benjamini-Hochberg
FLOOR = 0.02  # a smaller bias does not matter: at the highest bid of 100 it moves a reward by 2
AD_FLOOR = 0.05  # the same for one ad: by 5, half of the threshold that makes a preference pair (App. B.2.3)
LEAST = 5  # clicks, and ads not clicked, that a group must let expect: below, z is not normal
LEAST_CLUSTERS = 10
BINS = 10
BAND = 20  # whole units of the bid


@dataclass(frozen=True)
class Bin:
    """The shown ads of one tenth of the pCTRs."""

    lowest: float
    highest: float
    count: int
    predicted: float  # mean pCTR
    observed: float  # CTR


@dataclass(frozen=True)
class Group:
    """Calibration in the large of one group of shown ads. `p` is None where the group is too small to test."""

    by: str  # all, position, bid, ad
    name: str
    count: int
    clicks: int
    predicted: float  # mean pCTR
    observed: float  # CTR
    z: float | None
    p: float | None
    adjusted_p: float | None
    biased: bool

    @property
    def bias(self) -> float:
        return self.predicted - self.observed


@dataclass(frozen=True)
class Calibration:
    """`ece` is the expected calibration error: the bins' |predicted - observed|, weighted by count."""

    ece: float
    bins: tuple[Bin, ...]
    groups: tuple[Group, ...]

    @property
    def biased(self) -> tuple[Group, ...]:
        return tuple(group for group in self.groups if group.biased)

    @property
    def holds(self) -> bool:
        """Does Assumption 4.1 stand, as far as these clicks can tell?"""
        return not self.biased


def calibration(
    *, predicted: np.ndarray, clicked: np.ndarray, cluster: Sequence[str], by: Mapping[str, Sequence[str]]
) -> Calibration:
    """Bins and groups of R shown ads: pCTR (R,), click 0 or 1 (R,), and what each belongs to.

    `cluster` names the question of each row. `by` maps position, bid and ad to the group of each row; single ads that
    are too rare to test are tested together, as "others".
    """
    _, numbers = np.unique(np.asarray(cluster), return_inverse=True)
    found = [_group("all", "all", predicted, clicked, numbers)]
    for kind, labels in by.items():
        labels = np.asarray(labels)
        rare = np.zeros(len(labels), bool)
        for name in sorted(set(labels.tolist()), key=lambda text: (len(text), text)):
            rows = labels == name
            group = _group(kind, name, predicted[rows], clicked[rows], numbers[rows])
            found.append(group)
            rare |= rows & (group.p is None)
        if kind == "ad" and rare.any() and not rare.all():
            found.append(_group(kind, "others", predicted[rare], clicked[rare], numbers[rare]))
    return Calibration(*reliability(predicted, clicked), tuple(_judged(found)))


def reliability(predicted: np.ndarray, clicked: np.ndarray) -> tuple[float, tuple[Bin, ...]]:
    """The expected calibration error, and ten bins of equally many rows by their pCTR."""
    order = np.argsort(predicted, kind="stable")
    bins = tuple(
        Bin(
            lowest=float(predicted[rows].min()),
            highest=float(predicted[rows].max()),
            count=len(rows),
            predicted=float(predicted[rows].mean()),
            observed=float(clicked[rows].mean()),
        )
        for rows in np.array_split(order, BINS)
        if len(rows)
    )
    ece = sum(one.count * abs(one.predicted - one.observed) for one in bins) / max(1, len(predicted))
    return ece, bins


def bid_band(bid: int) -> str:
    """The band of a bid: 1-20, 21-40 and so on."""
    low = (max(1, bid) - 1) // BAND * BAND
    return f"{low + 1}-{low + BAND}"


def _group(by: str, name: str, predicted: np.ndarray, clicked: np.ndarray, cluster: np.ndarray) -> Group:
    z = _z(predicted, clicked, cluster)
    return Group(
        by=by,
        name=name,
        count=len(predicted),
        clicks=int(clicked.sum()),
        predicted=float(predicted.mean()),
        observed=float(clicked.mean()),
        z=z,
        p=None if z is None else erfc(abs(z) / sqrt(2)),
        adjusted_p=None,
        biased=False,
    )


def _z(predicted: np.ndarray, clicked: np.ndarray, cluster: np.ndarray) -> float | None:
    """The excess of clicks in standard deviations of independent draws, or of the clusters if those vary more."""
    used, numbers = np.unique(cluster, return_inverse=True)
    expected = float(predicted.sum())
    if min(expected, len(predicted) - expected) < LEAST or len(used) < LEAST_CLUSTERS:
        return None
    excess = clicked - predicted
    drawn = float((predicted * (1 - predicted)).sum())
    centred = np.bincount(numbers, weights=excess - excess.mean())  # one sum a cluster
    clustered = float((centred**2).sum()) * len(used) / (len(used) - 1)
    return float(excess.sum()) / sqrt(max(drawn, clustered))


def _judged(groups: Sequence[Group]) -> list[Group]:
    """The groups with p-values adjusted after Benjamini and Hochberg, and with what follows from them."""
    tested = sorted((number for number, group in enumerate(groups) if group.p is not None), key=lambda n: groups[n].p)
    adjusted: dict[int, float] = {}
    least = 1.0
    for rank in range(len(tested), 0, -1):
        least = min(least, groups[tested[rank - 1]].p * len(tested) / rank)
        adjusted[tested[rank - 1]] = least
    judged = []
    for number, group in enumerate(groups):
        p = adjusted.get(number)
        floor = AD_FLOOR if group.by == "ad" and group.name != "others" else FLOOR
        biased = p is not None and p < LEVEL and abs(group.bias) > floor
        judged.append(replace(group, adjusted_p=p, biased=biased))
    return judged
