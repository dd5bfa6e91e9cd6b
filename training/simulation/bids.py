"""Draw the auction of one query in one phase: fresh bids, and the candidates' order. Knows no prompt and no model.

Fresh bids in every epoch and phase keep the Ad-LLM from learning the bids by heart (section 5.2.1).
"""

import random
from collections.abc import Mapping

from training.dataset.records import Ad, Auction, Query

LOWEST_BID, HIGHEST_BID = 1, 100  # whole units, section 5.2.1


def draw_auction(*, query: Query, ads: Mapping[str, Ad], seed: int | str, phase: str, shuffle: bool) -> Auction:
    """A bid for every ad, uniform over the whole numbers 1 to 100; the same for the same (seed, phase, query id).

    The candidates stand in the catalogue's order, or shuffled. Shuffling moves each bid together with its ad.
    """
    rng = random.Random(repr((str(seed), phase, query.id)))
    bids = {ad_id: rng.randint(LOWEST_BID, HIGHEST_BID) for ad_id in ads}
    order = list(bids)
    if shuffle:
        rng.shuffle(order)
    return Auction(query_id=query.id, ad_ids=tuple(order), bids=tuple(bids[ad_id] for ad_id in order))
