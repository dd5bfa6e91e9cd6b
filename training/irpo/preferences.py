"""Who wins and who loses among the answers to one query: lines 14 and 15 of Algorithm 1. Knows no model and no reward.

An answer that was cut by the length limit, or says nothing, may lose but never wins: praising it would teach the
Ad-LLM to ramble or to fall silent. The paper does not speak of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.dataset.records import Auction, PreferenceGroup, ScoredResponse


def prefer(responses: Sequence[ScoredResponse], *, auction: Auction, threshold: float) -> PreferenceGroup | None:
    """The winner (the highest reward; of equals the first) and the losers, more than `threshold` below it.

    None where nobody loses, or nobody may win. Raises ValueError where the answers belong to different queries.
    """
    if {response.query_id for response in responses} != {auction.query_id}:
        raise ValueError(f"not all answers belong to the auction of {auction.query_id}")
    able = [response for response in responses if may_win(response)]
    if not able:
        return None
    winner = max(able, key=lambda response: response.reward)  # line 14
    losers = tuple(  # line 15
        response for response in responses if response.tokens and winner.reward - response.reward > threshold
    )
    return PreferenceGroup(auction.query_id, auction, winner, losers) if losers else None


def may_win(response: ScoredResponse) -> bool:
    return response.finished and bool(response.text.strip())


def rewards_to_learn(responses: Sequence[ScoredResponse]) -> list[float]:
    """What online RL takes for one query's answers: who may not win is worth no more than the worst of them."""
    worst = min(response.reward for response in responses)
    return [response.reward if may_win(response) else worst for response in responses]


@dataclass(frozen=True)
class PairYield:
    """How much is there to learn? Reported before training; without pairs there is nothing."""

    auctions: int
    groups: int  # auctions with a winner and at least one loser
    share: float
    losers_per_group: float
    margin: float  # mean over groups of the winner's reward less the mean of its losers'
    cut: int  # answers that could not win because the length limit cut them
    silent: int  # or because they said nothing


def pair_yield(scored: Iterable[Sequence[ScoredResponse]], groups: Sequence[PreferenceGroup]) -> PairYield:
    """`scored` holds all answers that each auction compares, `groups` what came of them."""
    auctions = cut = silent = 0
    for responses in scored:
        auctions += 1
        cut += sum(not response.finished for response in responses)
        silent += sum(response.finished and not may_win(response) for response in responses)
    margins = [
        group.winner.reward - sum(loser.reward for loser in group.losers) / len(group.losers) for group in groups
    ]
    count = len(groups)
    return PairYield(
        auctions=auctions,
        groups=count,
        share=count / auctions if auctions else 0.0,
        losers_per_group=sum(len(group.losers) for group in groups) / count if count else 0.0,
        margin=sum(margins) / count if count else 0.0,
        cut=cut,
        silent=silent,
    )
