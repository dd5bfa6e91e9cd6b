"""Does an ad get more clicks where it bids more, all else equal? The paper's Figure 4(a), section 5.4.

In each auction one ad's bid is set to 1, 10, 20 .. 100 while all others stay, and its clicks are counted. The paper
draws any ad; here it is one of the question's category where that is known, since of a hundred candidates any other is
hardly ever shown, whatever it bids.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from training.dataset import jsonl
from training.dataset.online import read_online
from training.dataset.ranks import rank_correlation
from training.dataset.records import Auction, Query
from training.evaluation.paired import interval, resampled
from training.simulation.bids import draw_auction
from training.simulation.clicks import ClickModel
from training.simulation.environment import RunSettings, simulate
from training.simulation.sampling import Sampler
from training.simulation.world import World

BIDS = (1, *range(10, 101, 10))  # section 5.4: pairs more than 10 apart were trained on


def chosen_ad(query: Query, *, world: World, category: str | None, seed: int | str) -> str:
    """The id of the ad whose bid is set, the same for the same seed and question."""
    fitting = [ad.id for ad in world.ads.values() if category and ad.category == category]
    return random.Random(repr(("sweep", str(seed), query.id))).choice(fitting or list(world.ads))


def with_bid(auction: Auction, ad_id: str, bid: int) -> Auction:
    bids = tuple(bid if other == ad_id else before for other, before in zip(auction.ad_ids, auction.bids, strict=True))
    return replace(auction, bids=bids)


def sweep(
    *,
    world: World,
    queries: Sequence[Query],
    categories: Mapping[str, str | None],
    sampler: Sampler,
    click_model: ClickModel,
    settings: RunSettings,
    out: Path,
    bids: Sequence[int] = BIDS,
    progress: Callable[[str, int, int, int], None] = lambda stage, done, total, tokens: None,
) -> dict[str, Any]:
    """One run of the simulation a bid, in `out`/bid-NNN, and what the chosen ads got there; goes on where it stopped.

    `rank_correlation` is Spearman's of bid and clicks, expected ones where the user's chances are known; its `interval`
    comes of drawing users with replacement, as in paired.py. Few questions make it wide, whatever the policy.
    """
    chosen = {
        query.id: chosen_ad(query, world=world, category=categories.get(query.id), seed=settings.seed)
        for query in queries
    }
    rows = []
    gains: list[dict[str, float]] = []
    for bid in bids:
        folder = out / f"bid-{bid:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "auctions.jsonl").exists():
            drawn = (
                draw_auction(
                    query=query, ads=world.ads, seed=settings.seed, phase=settings.phase, shuffle=settings.shuffle
                )
                for query in queries
            )
            changed = (with_bid(auction, chosen[auction.query_id], bid) for auction in drawn)
            jsonl.write(folder / "auctions.jsonl", changed)
        simulate(
            world=world, queries=queries, sampler=sampler, click_model=click_model, settings=settings, out=folder,
            resume=True, about={"sweep": bid}, progress=progress,
        )  # fmt: skip
        row, gained = _row(folder, bid, world, queries, chosen)
        rows.append(row)
        gains.append(gained)
    known = all(row["expected_clicks"] is not None for row in rows)
    clicks = [row["expected_clicks" if known else "clicks"] for row in rows]
    found = rank_correlation(list(bids), clicks)
    return {
        "queries": len(queries),
        "of": "expected_clicks" if known else "clicks",
        "rank_correlation": found,
        "interval": None if found is None else _rank_interval(bids, gains),
        "bids": rows,
    }


def _rank_interval(bids: Sequence[int], gains: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """`gains` are the clicks of each user, one mapping a bid. Where all bids gain as much, nothing rises: 0."""
    table = np.array([[gained[user] for gained in gains] for user in sorted(gains[0])])  # (users, bids)
    drawn = resampled(len(table)) @ table
    return interval(np.array([rank_correlation(list(bids), row) or 0.0 for row in drawn]))


def _row(
    folder: Path, bid: int, world: World, queries: Sequence[Query], chosen: Mapping[str, str]
) -> tuple[dict[str, float | None], dict[str, float]]:
    """What the ads chosen got at this bid, and the same, in clicks, from each user."""
    answers = shown = clicks = 0
    chances: list[float | None] = []
    gained = {query.profile_id: 0.0 for query in queries}
    for sample in read_online(folder, queries={query.id: query for query in queries}, profiles=world.profiles):
        answers += 1
        for ad in sample.feedback.ads:
            if ad.ad_id == chosen[sample.exposure.query.id]:
                shown, clicks = shown + 1, clicks + ad.clicked
                chances.append(ad.ctr)
                gained[sample.exposure.query.profile_id] += ad.clicked if ad.ctr is None else ad.ctr
    expected = None if None in chances else round(sum(chances) / answers, 6)
    row = {
        "bid": bid,
        "answers": answers,
        "shown": round(shown / answers, 6),
        "clicks": round(clicks / answers, 6),
        "expected_clicks": expected,
    }
    return row, gained
