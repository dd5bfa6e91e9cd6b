"""How far do two users agree on the same answers? For audits: a policy must not live off one judge's whims."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.dataset.ranks import correlation, rank_correlation
from training.dataset.records import AdFeedback, Feedback


@dataclass(frozen=True)
class PositionAgreement:
    """The ads that stand at one position: how many, and each user's mean chance (or rate) of a click."""

    position: int
    ads: int
    first_ctr: float
    second_ctr: float


@dataclass(frozen=True)
class Agreement:
    """Do both users like the same ads? None where a figure is not defined, such as a correlation of constants."""

    first: str
    second: str
    answers: int
    ads: int
    first_ctr: float | None  # mean chance of a click where it is known, else share of clicked ads
    second_ctr: float | None
    correlation: float | None  # Pearson, over ads
    rank_correlation: float | None  # Spearman: the same order of ads?
    kappa: float | None  # Cohen's kappa of the drawn clicks: agreement beyond chance
    by_position: tuple[PositionAgreement, ...]


def agreement(*, first: Sequence[Feedback], second: Sequence[Feedback], names: tuple[str, str]) -> Agreement:
    """Compare feedback on the same responses, in the same order. Raises ValueError where they differ."""
    pairs: list[tuple[AdFeedback, AdFeedback]] = []
    for one, other in zip(first, second, strict=True):
        shown = [(one.query_id, one.sample, ad.ad_id) for ad in one.ads]
        if shown != [(other.query_id, other.sample, ad.ad_id) for ad in other.ads]:
            raise ValueError(f"The users saw different answers: query {one.query_id}, sample {one.sample}")
        pairs += zip(one.ads, other.ads, strict=True)
    a, b = (np.array([_liking(pair[side]) for pair in pairs]) for side in (0, 1))
    positions = np.array([pair[0].position for pair in pairs], int)
    return Agreement(
        first=names[0],
        second=names[1],
        answers=len(first),
        ads=len(pairs),
        first_ctr=float(a.mean()) if pairs else None,
        second_ctr=float(b.mean()) if pairs else None,
        correlation=correlation(a, b),
        rank_correlation=rank_correlation(a, b),
        kappa=_kappa(*(np.array([pair[side].clicked for pair in pairs], bool) for side in (0, 1))),
        by_position=tuple(
            PositionAgreement(
                position=int(at),
                ads=int((positions == at).sum()),
                first_ctr=float(a[positions == at].mean()),
                second_ctr=float(b[positions == at].mean()),
            )
            for at in np.unique(positions)
        ),
    )


def _liking(ad: AdFeedback) -> float:
    return float(ad.clicked) if ad.ctr is None else ad.ctr


def _kappa(a: np.ndarray, b: np.ndarray) -> float | None:
    if not len(a):
        return None
    by_chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return None if by_chance == 1 else float(((a == b).mean() - by_chance) / (1 - by_chance))
