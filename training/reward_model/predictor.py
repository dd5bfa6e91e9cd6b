"""Who says how likely a shown ad is clicked: the seam between the reward and its three sources."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from training.dataset.records import Ad, Exposure


class ClickPredictor(Protocol):
    """What the reward (Eq. 5, 8), and so IRPO, takes: the paper's pCTR, the context pCTR, or the Oracle.

    `name` is pctr, context or oracle. Bids are in the exposures; no predictor reads them.
    """

    name: str

    def predict(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad]) -> list[dict[str, float]]:
        """For each answer, ad id -> chance of a click in 0..1 for every ad it shows, in the order of first mention.

        The same exposure gives the same bits, whatever else is asked. `ads` holds at least the auctions' ads.
        """
        ...


class KnownUser(Protocol):
    """A click model whose true chances can be computed, such as the simulation's behavioural user."""

    def ctr_many(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad]) -> list[dict[str, float]]:
        """For each answer, ad id -> the true chance of a click, for every shown ad in order."""
        ...


class Oracle:
    """The user's own chance of a click in place of the pCTR: the paper's upper reference, LLM-Auction (Oracle)."""

    name = "oracle"

    def __init__(self, user: KnownUser) -> None:
        self._user = user

    def predict(self, exposures: Sequence[Exposure], *, ads: Mapping[str, Ad]) -> list[dict[str, float]]:
        """See ClickPredictor."""
        return self._user.ctr_many(exposures, ads=ads)
