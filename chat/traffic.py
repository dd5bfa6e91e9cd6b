"""Simulated visitors for a database marked as demo, so that the dashboards are not empty on first sight.

They take the real way: a question, an auction, an answer by the model, impressions, clicks that charge play money.
Only who asks what, when, and which ads they click is made up here. Knows nothing of prompts or of money.
"""

import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from functools import cache
from hashlib import sha256
from pathlib import Path

from django.db.models import Q
from django.utils import timezone

from campaigns.auction.categories import CATEGORIES
from campaigns.auction.validation import InvalidInput
from campaigns.billing import record_click
from campaigns.models import Auction, DatabaseMark, RejectedClick
from campaigns.serving import ServedAd, served_ads
from chat import registry
from chat.adllm.engine import Engine
from chat.answering import Busy, answer_query
from chat.models import ModelVersion, TrafficRun, Turn
from chat.scripted_visits import scripted_engine, scripted_version
from chat.turns import STALE_AFTER

logger = logging.getLogger(__name__)

MOST_VISITORS, MOST_DAYS = 10_000, 60
FAILURES_IN_A_ROW = 3  # then the model server is taken to be down

# How likely a visitor clicks an ad that is shown: by what the ad is about, halved and so on when many ads compete.
CLICK_ON_TOPIC, CLICK_OF_INTEREST, CLICK_OTHERWISE = 0.35, 0.10, 0.02
ADS_WITHOUT_ANNOYANCE = 2
SECOND_CLICK = 0.08  # of the clicks: a double click, which must not be charged
PREFETCH = 0.04  # of the ads shown: a browser loads the link ahead, which is no click
ASKS_ABOUT_AN_INTEREST = 0.6
VISITS_PER_VISITOR = 1.5  # some come back

HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 9, 10, 9, 8, 8, 9, 10, 12, 14, 15, 13, 9, 5)  # weight of each hour, UTC
WEEKDAYS = (10, 10, 10, 9, 8, 12, 13)  # from Monday


@dataclass(frozen=True)
class Profile:
    text: str
    interests: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    category: str
    text: str


@dataclass(frozen=True)
class Visit:
    """One simulated visitor's one question. Clicks are drawn by `rng_seed`, so a visit is the same when repeated."""

    number: int
    at: datetime
    visitor_hash: str
    profile: Profile
    question: Question
    rng_seed: str


# --- the plan: pure ---


def plan_visits(*, visitors: int, days: int, seed: int, until: datetime) -> list[Visit]:
    """Who comes when and asks what, in order of time, within the `days` days before `until`; more in the evening."""
    rng = random.Random(f"{seed}:plan")
    visits = []
    for number, at in enumerate(_moments(rng, count=visitors, days=days, until=until)):
        profile = rng.choice(_profiles())
        of_interest = [q for q in _questions() if is_of_interest(q.category, profile.interests)]
        pool = of_interest if of_interest and rng.random() < ASKS_ABOUT_AN_INTEREST else _questions()
        visitor = rng.randrange(max(1, round(visitors / VISITS_PER_VISITOR)))
        visitor_hash = sha256(f"simulated:{seed}:{visitor}".encode()).hexdigest()
        visits.append(Visit(number, at, visitor_hash, profile, rng.choice(pool), f"{seed}:{number}"))
    return visits


def _moments(rng: random.Random, *, count: int, days: int, until: datetime) -> list[datetime]:
    until = until.astimezone(UTC)
    midnight = datetime.combine(until.date(), time_of_day(), tzinfo=UTC)
    hours = [midnight - timedelta(days=days) + timedelta(hours=hour) for hour in range((days + 1) * 24)]
    past = [hour for hour in hours if until - timedelta(days=days) <= hour <= until - timedelta(hours=1)]
    weights = [HOURS[hour.hour] * WEEKDAYS[hour.weekday()] for hour in past]
    return sorted(hour + timedelta(seconds=rng.uniform(0, 3600)) for hour in rng.choices(past, weights, k=count))


def is_of_interest(category: str, interests: tuple[str, ...]) -> bool:
    """Does the category's name stand in one of a profile's interests ("quick cooking" holds Cooking)?"""
    return any(CATEGORIES[category].casefold() in interest for interest in interests)


def click_probability(*, ad_category: str, question_category: str, interests: tuple[str, ...], ads_shown: int) -> float:
    """How likely does this visitor click this ad?"""
    if ad_category == question_category:
        likely = CLICK_ON_TOPIC
    elif is_of_interest(ad_category, interests):
        likely = CLICK_OF_INTEREST
    else:
        likely = CLICK_OTHERWISE
    return likely * min(1.0, ADS_WITHOUT_ANNOYANCE / ads_shown)


@cache
def _profiles() -> tuple[Profile, ...]:
    path = Path(__file__).parent / "data" / "profiles.json"
    return tuple(
        Profile(
            text=f"{entry['basic_information']} Interests: {entry['interests']}",
            interests=tuple(part.strip().casefold() for part in entry["interests"].split(",")),
        )
        for entry in json.loads(path.read_text(encoding="utf-8"))
    )


@cache
def _questions() -> tuple[Question, ...]:
    path = Path(__file__).parent / "data" / "questions.json"
    return tuple(Question(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))


# --- a run: begun, carried out, cancelled, continued ---


def start_run(*, visitors: int, days: int = 14, seed: int = 1, engine: str = TrafficRun.Engine.LIVE) -> TrafficRun:
    """A queued run. Raises InvalidInput where the figures make no sense or the money is real."""
    if not DatabaseMark.objects.filter(kind="demo").exists():
        raise InvalidInput("Simulated visitors click with play money: this database is not marked as demo.")
    if not 1 <= visitors <= MOST_VISITORS:
        raise InvalidInput(f"Between 1 and {MOST_VISITORS:,} visitors can be simulated at once.")
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(f"The visits can be spread over 1 to {MOST_DAYS} days.")
    return TrafficRun.objects.create(wanted=visitors, days=days, seed=seed, engine=engine)


def cancel_run(run_id: int) -> bool:
    """Noticed before the next visit. False when the run has ended already."""
    active = TrafficRun.objects.filter(pk=run_id, status__in=[TrafficRun.Status.QUEUED, TrafficRun.Status.RUNNING])
    return active.update(status=TrafficRun.Status.CANCELLED, updated_at=timezone.now()) == 1


def unfinished_run() -> TrafficRun | None:
    """The latest run that may be continued: cancelled, failed, or left by a process that is gone."""
    ended = Q(status__in=[TrafficRun.Status.CANCELLED, TrafficRun.Status.FAILED])
    return TrafficRun.objects.filter(ended | _unattended()).first()


def queue_again(run: TrafficRun) -> None:
    """Let an unfinished run be claimed once more, from the visit it had reached."""
    unfinished = ~Q(status__in=[TrafficRun.Status.COMPLETE, TrafficRun.Status.RUNNING]) | _unattended()
    TrafficRun.objects.filter(unfinished, pk=run.pk).update(
        status=TrafficRun.Status.QUEUED, error="", updated_at=timezone.now()
    )
    run.refresh_from_db()


def run_traffic(
    run: TrafficRun,
    *,
    engine: Engine | None = None,
    report: Callable[[TrafficRun], None] = lambda run: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Counter[str]:
    """Carry out the visits that are left; returns what came of them. Leaves at once if somebody else is at it."""
    outcomes: Counter[str] = Counter()
    if not _claim(run):
        return outcomes
    try:
        _send_visitors(run, outcomes, engine=engine, report=report, sleep=sleep)
    except BaseException as broken:
        _end(run, TrafficRun.Status.CANCELLED if isinstance(broken, KeyboardInterrupt) else TrafficRun.Status.FAILED)
        raise
    return outcomes


def _send_visitors(run: TrafficRun, outcomes: Counter[str], *, engine, report, sleep) -> None:
    versions = _asked(run)
    if run.engine == TrafficRun.Engine.SCRIPTED and engine is None:
        engine = scripted_engine(seed=run.seed, topics={q.text: q.category for q in _questions()})
    failures = 0
    for visit in plan_visits(visitors=run.wanted, days=run.days, seed=run.seed, until=run.started_at)[run.done :]:
        while _somebody_waits():
            if not _still_wanted(run):
                return
            sleep(1.0)
        try:
            version = versions[visit.number % len(versions)]
            turn = simulate_visit(visit, run=run, outcomes=outcomes, engine=engine, version=version)
        except Busy as busy:
            _end(run, TrafficRun.Status.FAILED, error=str(busy))
            return
        failures = failures + 1 if turn.status == Turn.Status.FAILED else 0
        if failures == FAILURES_IN_A_ROW:
            _end(run, TrafficRun.Status.FAILED, error=turn.error)
            return
        run.done = visit.number + 1
        if not _still_wanted(run):
            return
        report(run)
    _end(run, TrafficRun.Status.COMPLETE)


def _asked(run: TrafficRun) -> list[ModelVersion | None]:
    """The models that the visitors ask, in turns; None is whichever is live when they come."""
    if run.engine == TrafficRun.Engine.SCRIPTED:
        return [scripted_version()]
    after_irpo = registry.register_shipped() if run.engine == TrafficRun.Engine.BOTH else None
    return [None, after_irpo] if after_irpo and not after_irpo.is_live else [None]


def simulate_visit(
    visit: Visit,
    *,
    run: TrafficRun,
    outcomes: Counter[str],
    engine: Engine | None = None,
    version: ModelVersion | None = None,
) -> Turn:
    """One visitor asks, reads and clicks. Every step is the one a person would cause."""
    turn = answer_query(
        query=visit.question.text,
        profile=visit.profile.text,
        visitor_hash=visit.visitor_hash,
        origin=Auction.Origin.DEMO,
        engine=engine,
        model_version=version,
        at=visit.at,
        idempotency_key=f"traffic-{run.pk}-{visit.number}",
    )
    outcomes["questions"] += 1
    outcomes[turn.status] += 1
    ads = served_ads(turn.auction_id) if turn.auction_id else []
    outcomes["ads shown"] += len(ads)
    rng = random.Random(visit.rng_seed)
    for ad in ads:
        _maybe_click(ad, visit, rng=rng, ads_shown=len(ads), outcomes=outcomes)
    return turn


def _maybe_click(ad: ServedAd, visit: Visit, *, rng: random.Random, ads_shown: int, outcomes: Counter[str]) -> None:
    at = visit.at + timedelta(seconds=rng.uniform(5, 60))

    def click(*, suspicion: str | None = None, after: float = 0) -> None:
        moment = at + timedelta(seconds=after)
        done = record_click(token=ad.token, visitor_hash=visit.visitor_hash, suspicion=suspicion, at=moment)
        outcomes[f"clicks {done.outcome}"] += 1
        outcomes["charged micros"] += done.charged_micros

    if rng.random() < PREFETCH:
        click(suspicion=RejectedClick.Reason.PREFETCH)
    likely = click_probability(
        ad_category=ad.category,
        question_category=visit.question.category,
        interests=visit.profile.interests,
        ads_shown=ads_shown,
    )
    if rng.random() < likely:
        click(after=1)
        if rng.random() < SECOND_CLICK:
            click(after=2)


def _somebody_waits() -> bool:
    """A person's question goes first: simulated visitors wait while one is being answered."""
    recent = Turn.objects.filter(origin=Auction.Origin.LIVE, updated_at__gt=timezone.now() - STALE_AFTER)
    return recent.filter(status__in=[Turn.Status.QUEUED, Turn.Status.STREAMING]).exists()


def _unattended() -> Q:
    return Q(status=TrafficRun.Status.RUNNING, updated_at__lt=timezone.now() - STALE_AFTER)


def _claim(run: TrafficRun) -> bool:
    claimed = TrafficRun.objects.filter(Q(status=TrafficRun.Status.QUEUED) | _unattended(), pk=run.pk).update(
        status=TrafficRun.Status.RUNNING, updated_at=timezone.now()
    )
    run.refresh_from_db()
    return claimed == 1


def _still_wanted(run: TrafficRun) -> bool:
    """Save the progress, which is also the heartbeat; False once somebody cancelled the run."""
    TrafficRun.objects.filter(pk=run.pk).update(done=run.done, updated_at=timezone.now())
    run.refresh_from_db()
    return run.status == TrafficRun.Status.RUNNING


def _end(run: TrafficRun, status: str, *, error: str = "") -> None:
    running = TrafficRun.objects.filter(pk=run.pk, status=TrafficRun.Status.RUNNING)
    running.update(status=status, done=run.done, error=error, updated_at=timezone.now())
    run.refresh_from_db()
