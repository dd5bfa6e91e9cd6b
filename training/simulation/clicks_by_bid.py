"""Do clicks rise with bids? What a run says about it (Figure 4): slope, rank correlation, ten bands of the bid.

A pre-trained model shows ads whatever they bid, so the slope is noise about 0; IRPO is to make it rise (Monotonicity,
section 4.1). Knows no engine and no file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from training.dataset.records import Auction
from training.simulation.bids import HIGHEST_BID, LOWEST_BID

BANDS = 10
NOISE = 1.96  # standard errors: 95 % of noise lies within


@dataclass
class _Query:
    """The sums over one query's candidates that a regression of clicks on bids needs."""

    count: int = 0
    x: float = 0.0
    xx: float = 0.0
    y: float = 0.0
    xy: float = 0.0


@dataclass
class _Band:
    candidates: int = 0  # each candidate of each answer
    shown: int = 0
    clicks: int = 0
    ctr: float = 0.0  # sum over shown ads


@dataclass
class ClicksByBid:
    """Grows query by query. An ad that was not shown was not clicked."""

    queries: list[_Query] = field(default_factory=list)
    bands: list[_Band] = field(default_factory=lambda: [_Band() for _ in range(BANDS)])

    def add(
        self, auction: Auction, *, answers: int, shown: Mapping[str, int], clicks: Mapping[str, int],
        ctr: Mapping[str, float],
    ) -> None:  # fmt: skip
        """One query: how often each ad was shown and clicked in its answers, and the sum of its chances there."""
        query = _Query()
        for ad_id, bid in zip(auction.ad_ids, auction.bids, strict=True):
            rate = clicks.get(ad_id, 0) / answers
            query.count += 1
            query.x += bid
            query.xx += bid * bid
            query.y += rate
            query.xy += bid * rate
            band = self.bands[band_of(bid)]
            band.candidates += answers
            band.shown += shown.get(ad_id, 0)
            band.clicks += clicks.get(ad_id, 0)
            band.ctr += ctr.get(ad_id, 0.0)
        self.queries.append(query)

    def figures(self, *, ctr_known: bool) -> dict[str, Any]:
        """`slope` is in clicks per answer and unit of the bid; `rank_correlation` is Spearman's, over the bands.

        `within_noise`: 0 lies within 1.96 standard errors of the slope. None: too little to tell.
        """
        from training.dataset.ranks import rank_correlation  # numpy: not for the pages, which import this module

        filled = [(at, band) for at, band in enumerate(self.bands) if band.candidates]
        return {
            **self._slope(),
            "rank_correlation": rank_correlation(
                [at for at, _ in filled], [band.clicks / band.candidates for _, band in filled]
            ),
            "bands": [
                {
                    "bids": list(_edges(at)),
                    "candidates": band.candidates,
                    "shown": band.shown,
                    "clicks": band.clicks,
                    "shown_per_answer": _ratio(band.shown, band.candidates),
                    "clicks_per_answer": _ratio(band.clicks, band.candidates),
                    "ctr": _ratio(band.clicks, band.shown),
                    "true_ctr": _ratio(band.ctr, band.shown) if ctr_known else None,
                }
                for at, band in filled
            ],
        }

    def _slope(self) -> dict[str, Any]:
        """Least squares of an ad's clicks per answer on its bid, over all candidates (Fig. 4a).

        The standard error takes the candidates of one query as one draw, since they share answers.
        """
        groups = self.queries
        nothing = {"slope": None, "standard_error": None, "t": None, "within_noise": None}
        count = sum(g.count for g in groups)
        if len(groups) < 3 or not count:
            return nothing
        x, y = sum(g.x for g in groups) / count, sum(g.y for g in groups) / count
        spread = sum(g.xx for g in groups) - count * x * x
        if spread <= 0:
            return nothing
        b = (sum(g.xy for g in groups) - count * x * y) / spread
        # Residual e = y_i - y - b (x_i - x); the score of a query is the sum of (x_i - x) e.
        scores = (
            (g.xy - x * g.y) - y * (g.x - x * g.count) - b * (g.xx - 2 * x * g.x + x * x * g.count) for g in groups
        )
        error = sqrt(sum(score * score for score in scores) * len(groups) / (len(groups) - 1)) / spread
        return {
            "slope": float(f"{b:.6g}"),
            "standard_error": float(f"{error:.6g}"),
            "t": round(b / error, 3) if error else None,
            "within_noise": abs(b) <= NOISE * error,
        }


def band_of(bid: int) -> int:
    """0 for bids 1 to 10, 9 for bids 91 to 100; a bid beyond those counts to the nearest band."""
    at = (bid - LOWEST_BID) * BANDS // (HIGHEST_BID - LOWEST_BID + 1)
    return min(max(at, 0), BANDS - 1)


def _edges(at: int) -> tuple[int, int]:
    width = (HIGHEST_BID - LOWEST_BID + 1) // BANDS
    return LOWEST_BID + at * width, LOWEST_BID + (at + 1) * width - 1


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None
