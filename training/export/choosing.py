"""Which real answers may teach the reward model, and what counts as a click in them. Knows no database and no model.

An answer is left out for the first reason that applies; a click that is not counted leaves its answer in. Reasons are
data: whoever exports reports them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from campaigns.auction.candidates import MICROS
from training.dataset.jsonl import DataError
from training.dataset.records import Ad, AdFeedback, Auction, Exposure, Feedback, OnlineSample, Profile, Query, Response
from training.export.rows import check_sample

PER_USER = 20  # answers of one user, so that nobody's taste becomes everybody's
NOT_A_PERSON = frozenset({"bot", "prefetch"})
AGAIN = "duplicate"


@dataclass(frozen=True)
class ShownAd:
    """An ad that was shown, and all that happened to its link. `refused` are the market's reasons, one a click."""

    ad_id: str
    billed: bool
    credited: bool  # the whole charge was given back: the market took it for no click
    refused: tuple[str, ...]
    hidden: bool  # its visitor asked not to see it again
    settled: bool  # the link's time is over: no click can come any more


@dataclass(frozen=True)
class LiveTurn:
    """One answered question as chat and market have it. `user` stands for the visitor, and is blank for a program."""

    id: str
    user: str
    simulated: bool
    complete: bool
    profile: str
    query: str
    text: str
    tokens: int
    candidates: tuple[tuple[str, int], ...]  # ad id and bid in micros, in the prompt's order
    shown: tuple[ShownAd, ...]  # in the order of first mention


@dataclass
class Tally:
    """What became of the answers and clicks that were looked at."""

    answers: int = 0
    shown: int = 0
    clicks: int = 0
    users: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)  # answers, by reason
    not_counted: Counter[str] = field(default_factory=Counter)  # clicks in answers that stay, by reason


def choose(
    turns: Iterable[LiveTurn], *, ads: Mapping[str, Ad], per_user: int = PER_USER, tally: Tally
) -> Iterator[OnlineSample]:
    """The answers to learn from, in order, at most `per_user` of one user: the first ones, so give the newest first."""
    taken: Counter[str] = Counter()
    for turn in turns:
        reason = _unfit(turn)
        if reason is None and taken[turn.user] >= per_user:
            reason = "over_cap"
        if reason is None:
            sample = sample_of(turn)
            try:
                check_sample(sample, ads)
            except DataError:  # a title was changed, or more ads were written than are shown
                reason = "reads_differently"
        if reason:
            tally.left_out[reason] += 1
            continue
        taken[turn.user] += 1
        _count(turn, sample, tally)
        yield sample


def _unfit(turn: LiveTurn) -> str | None:
    if turn.simulated:
        return "simulated"
    if not turn.complete:
        return "unfinished"
    if not turn.user:
        return "no_visitor"
    if not turn.shown:
        return "no_ads"
    if not all(ad.settled for ad in turn.shown):
        return "unsettled"
    if any(ad.billed and ad.credited for ad in turn.shown):
        return "credited"
    # A person clicked and the market did not take it (no budget left, link too old, ...): neither a click nor none.
    if any(not ad.billed and set(ad.refused) - NOT_A_PERSON - {AGAIN} for ad in turn.shown):
        return "not_billed"
    return None


def sample_of(turn: LiveTurn) -> OnlineSample:
    """The row of D_on. Bids are rounded to whole units: no pCTR sees them, only the calibration report's bands."""
    query = f"live-{turn.id}"
    info, _, interests = turn.profile.partition("Interests:")
    profile = Profile(
        id=f"live-{turn.user}",
        info=info.strip(),
        interests=tuple(filter(None, (part.strip(" .\n") for part in interests.split(",")))),
        split="train",
    )
    return OnlineSample(
        Exposure(
            profile=profile,
            query=Query(id=query, profile_id=profile.id, text=turn.query, split="train"),
            auction=Auction(
                query_id=query,
                ad_ids=tuple(ad_id for ad_id, _ in turn.candidates),
                bids=tuple(max(1, (micros + MICROS // 2) // MICROS) for _, micros in turn.candidates),
            ),
            response=Response(query_id=query, sample=0, text=turn.text, tokens=turn.tokens),
        ),
        Feedback(
            query_id=query,
            sample=0,
            ads=tuple(
                AdFeedback(ad_id=ad.ad_id, position=place, clicked=ad.billed and not ad.hidden)
                for place, ad in enumerate(turn.shown)
            ),
        ),
    )


def _count(turn: LiveTurn, sample: OnlineSample, tally: Tally) -> None:
    tally.answers += 1
    tally.users.add(turn.user)
    tally.shown += len(turn.shown)
    tally.clicks += sum(ad.clicked for ad in sample.feedback.ads)
    for ad in turn.shown:
        tally.not_counted["hidden"] += ad.billed and ad.hidden
        tally.not_counted.update(reason for reason in ad.refused if ad.billed or reason in NOT_A_PERSON | {AGAIN})
