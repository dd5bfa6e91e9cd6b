"""The reward of an answer (Eq. 5, 8): what its ads are expected to earn, less what they cost the user.

What N_ad and a format error are is markup's business; no cap on the number of ads. Never billing: rewards are floats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chat.adllm import markup
from training.dataset.penalty import penalty
from training.dataset.records import Ad, Auction, Exposure
from training.reward_model.predictor import ClickPredictor

PENALTY_WEIGHT = 1.0  # lambda, App. B.2.3


class MissingPrediction(ValueError):
    """A predictor says nothing of an ad that the answer shows, or no probability."""


@dataclass(frozen=True)
class Scored:
    """One answer's reward and its parts, in whole units of the bids."""

    revenue: float  # sum of bid * pCTR over the ads shown
    penalty: float  # lambda (10 N^2 + 500 on a format error)
    n_ads: int
    format_errors: dict[str, int]  # by kind

    @property
    def reward(self) -> float:
        return self.revenue - self.penalty


def score(
    text: str,
    *,
    auction: Auction,
    ads: Mapping[str, Ad],
    pctr: Mapping[str, float],
    penalty_weight: float = PENALTY_WEIGHT,
) -> Scored:
    """Eq. 8 for one answer, given the chance of a click for every ad it shows."""
    candidates = auction.candidates(ads)
    parsed = markup.parse(text, candidates, max_ads=len(candidates))
    bids = dict(zip(auction.ad_ids, auction.bids, strict=True))
    for ad_id in parsed.ads:
        if not 0 <= pctr.get(ad_id, -1) <= 1:
            raise MissingPrediction(f"{ad_id} is shown, and its pCTR is {pctr.get(ad_id)!r}")
    return Scored(
        revenue=sum(bids[ad_id] * pctr[ad_id] for ad_id in parsed.ads),
        penalty=penalty_weight * penalty(parsed),
        n_ads=parsed.n_ads,
        format_errors={kind.value: count for kind, count in sorted(parsed.errors.items())},
    )


def score_many(
    exposures: Sequence[Exposure],
    *,
    ads: Mapping[str, Ad],
    predictor: ClickPredictor,
    penalty_weight: float = PENALTY_WEIGHT,
) -> list[Scored]:
    """Eq. 8 for many answers, of one query or of several, in order."""
    return [
        score(exposure.response.text, auction=exposure.auction, ads=ads, pctr=predicted, penalty_weight=penalty_weight)
        for exposure, predicted in zip(exposures, predictor.predict(exposures, ads=ads), strict=True)
    ]
