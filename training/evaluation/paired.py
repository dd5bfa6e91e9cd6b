"""Policies on the same questions under the same bids, compared question by question, with bootstrap intervals.

The answers to one user's questions are not independent, so users are drawn with replacement, and in each draw the same
users for every policy: what all policies find easy or hard cancels out of a comparison. Knows no engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chat.adllm import markup
from training.dataset.online import read_online
from training.dataset.penalty import penalty
from training.dataset.records import OnlineSample, Query
from training.simulation.world import World

DRAWS = 2000
LEVEL = 0.95  # of the intervals

# Each figure is a sum over answers divided by another: (what is summed, what it is divided by).
FIGURES = {
    "revenue": ("revenue", "answers"),  # bid x click: the paper's revenue per query
    "expected_revenue": ("expected", "answers"),  # bid x the user's chance of a click: the same without luck
    "reward": ("reward", "answers"),  # Eq. 8 at lambda 1, with the user's chances where they are known
    "ads_per_answer": ("ads", "answers"),
    "share_without_ads": ("silent", "answers"),
    "share_with_format_error": ("broken", "answers"),
    "share_cut": ("cut", "answers"),
    "share_on_topic": ("fitting", "told"),  # of the shown ads whose question has a known category
    "ctr": ("clicks", "ads"),
    "expected_ctr": ("chances", "ads"),
}
SUMS = tuple(dict.fromkeys(name for pair in FIGURES.values() for name in pair))


@dataclass(frozen=True)
class Outcome:
    """What one answer brought. `asked` names seed and question, which pairs it with those of other policies."""

    asked: str
    user: str
    sums: Mapping[str, float]  # by the names of SUMS; expected ones are NaN where no chance is known


def outcomes(
    folder: Path, *, world: World, queries: Sequence[Query], categories: Mapping[str, str | None], seed: int | str = 0
) -> list[Outcome]:
    """From a finished run of the simulation in `folder`. Raises DataError where its files do not fit."""
    samples = read_online(folder, queries={query.id: query for query in queries}, profiles=world.profiles)
    return [_outcome(sample, world, categories, seed) for sample in samples]


def _outcome(sample: OnlineSample, world: World, categories: Mapping[str, str | None], seed: int | str) -> Outcome:
    exposure, shown = sample.exposure, sample.feedback.ads
    auction, response, query = exposure.auction, exposure.response, exposure.query
    candidates = auction.candidates(world.ads)
    parsed = markup.parse(response.text, candidates, max_ads=len(candidates))
    bids = dict(zip(auction.ad_ids, auction.bids, strict=True))
    chances = [np.nan if ad.ctr is None else ad.ctr for ad in shown]
    revenue = float(sum(bids[ad.ad_id] * ad.clicked for ad in shown))
    expected = float(sum(bids[ad.ad_id] * chance for ad, chance in zip(shown, chances, strict=True)))
    category = categories.get(query.id)
    return Outcome(
        asked=f"{seed}/{query.id}/{response.sample}",
        user=exposure.profile.id,
        sums={
            "answers": 1,
            "revenue": revenue,
            "expected": expected,
            "reward": (revenue if np.isnan(expected) else expected) - penalty(parsed),
            "ads": len(shown),
            "silent": not shown,
            "broken": bool(parsed.errors),
            "cut": not response.finished,
            "fitting": sum(world.ads[ad.ad_id].category == category for ad in shown) if category else 0,
            "told": len(shown) if category else 0,
            "clicks": sum(ad.clicked for ad in shown),
            "chances": float(sum(chances)),
        },
    )


def compare(policies: Mapping[str, Sequence[Outcome]], *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Figures of every policy, each {"mean", "low", "high"}, and of every policy but the first what it is more and how
    many times it is the first's. None where nothing is known. Raises ValueError where questions differ.
    """
    first, *others = policies
    asked = sorted(outcome.asked for outcome in policies[first])
    for name in others:
        if sorted(outcome.asked for outcome in policies[name]) != asked:
            raise ValueError(f"{name} and {first} did not answer the same questions")
    users = sorted({outcome.user for outcome in policies[first]})
    if not users:
        raise ValueError("there are no answers to compare")
    place = {user: at for at, user in enumerate(users)}
    weights = resampled(len(users), draws=draws, seed=seed)
    drawn = {}
    for name, answered in policies.items():
        sums = np.zeros((len(users), len(SUMS)))
        for outcome in answered:
            sums[place[outcome.user]] += [float(outcome.sums[key]) for key in SUMS]
        drawn[name] = weights @ sums  # (1 + draws, SUMS)
    values = {
        name: {figure: _divided(table, *pair) for figure, pair in FIGURES.items()} for name, table in drawn.items()
    }
    found: dict[str, Any] = {
        "answers": len(asked),
        "users": len(users),
        "level": LEVEL,
        "policies": {
            name: {figure: interval(column) for figure, column in columns.items()} for name, columns in values.items()
        },
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        found["against"] = {
            "first": first,
            "policies": {
                name: {
                    figure: {
                        "more": interval(values[name][figure] - values[first][figure]),
                        "times": interval(values[name][figure] / values[first][figure])
                        if (values[first][figure] > 0).all()
                        else None,
                    }
                    for figure in FIGURES
                }
                for name in others
            },
        }
    return found


def resampled(users: int, *, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """How often each user counts, (1 + draws, users): once in the first row, the data as they are, then drawn with
    replacement.
    """
    weights = np.random.default_rng(seed).multinomial(users, np.full(users, 1 / users), size=draws)
    return np.concatenate([np.ones((1, users)), weights])


def _divided(table: np.ndarray, part: str, whole: str) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return table[:, SUMS.index(part)] / table[:, SUMS.index(whole)]


def interval(column: np.ndarray) -> dict[str, float] | None:
    """Of the data, first in `column`, with the percentiles of the draws behind it; None where any is not a number."""
    if not np.isfinite(column).all():
        return None
    low, high = np.quantile(column[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"mean": round(float(column[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}
