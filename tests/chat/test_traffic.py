"""Simulated visitors: planned by a seed, real in the chain, only with play money, and never in a person's way."""

import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from campaigns.auction.validation import InvalidInput
from campaigns.models import Auction, Click, Impression, RejectedClick
from chat import registry, tasks, traffic
from chat.adllm.engine import EngineUnavailable
from chat.adllm.scripted_engine import ScriptedEngine
from chat.models import TrafficRun, Turn
from chat.traffic import cancel_run, click_probability, plan_visits, run_traffic, start_run
from tests import market

NOON = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
SCRIPTED = TrafficRun.Engine.SCRIPTED


# --- the plan ---


def test_a_plan_follows_from_its_seed():
    plan = plan_visits(visitors=50, days=7, seed=1, until=NOON)

    assert plan == plan_visits(visitors=50, days=7, seed=1, until=NOON)
    assert plan != plan_visits(visitors=50, days=7, seed=2, until=NOON)


def test_visits_are_in_order_within_the_days_and_more_in_the_evening():
    plan = plan_visits(visitors=3000, days=7, seed=1, until=NOON)
    moments = [visit.at for visit in plan]

    assert moments == sorted(moments)
    assert moments[0] >= NOON - timedelta(days=7)
    assert moments[-1] <= NOON
    hours = Counter(moment.hour for moment in moments)
    assert sum(hours[h] for h in (19, 20, 21)) > 3 * sum(hours[h] for h in (2, 3, 4))


def test_some_visitors_come_back_and_many_ask_about_their_interests():
    plan = plan_visits(visitors=600, days=7, seed=1, until=NOON)
    of_interest = [visit for visit in plan if traffic.is_of_interest(visit.question.category, visit.profile.interests)]

    assert 300 < len({visit.visitor_hash for visit in plan}) < 450
    assert 0.5 < len(of_interest) / len(plan) < 0.8


INTERESTS = ("quick cooking", "yoga")
CLICKS = [  # ad's category, question's category, ads shown, probability
    ("coffee", "coffee", 1, 0.35),
    ("coffee", "coffee", 2, 0.35),
    ("coffee", "coffee", 4, 0.175),  # four ads annoy
    ("cooking", "coffee", 1, 0.10),  # of interest all the same
    ("tea", "coffee", 1, 0.02),
    ("tea", "coffee", 5, 0.008),
]


@pytest.mark.parametrize(("ad", "question", "ads_shown", "probability"), CLICKS)
def test_clicks_follow_topic_interest_and_number_of_ads(ad, question, ads_shown, probability):
    likely = click_probability(ad_category=ad, question_category=question, interests=INTERESTS, ads_shown=ads_shown)
    assert likely == pytest.approx(probability)


# --- runs ---


@pytest.fixture
def demo(transactional_db):
    market.mark_demo()
    campaign = market.acme().campaign
    for category in ("tea", "yoga", "running", "travel", "reading", "cooking"):
        market.make_ad(campaign, title=f"Acme {category}", category=category)
    market.zenith()
    yield
    market.check()


def test_visitors_go_through_the_whole_chain(demo):
    run = start_run(visitors=60, days=7, seed=3, engine=SCRIPTED)
    outcomes = run_traffic(run)

    assert (run.status, run.done) == (TrafficRun.Status.COMPLETE, 60)
    assert Turn.objects.filter(origin="demo", status="complete").count() == outcomes["questions"] == 60
    assert Impression.objects.count() == outcomes["ads shown"] > 20
    assert Click.objects.count() == outcomes["clicks billed"] > 3
    assert sum(Click.objects.values_list("charged_micros", flat=True)) == outcomes["charged micros"] > 0
    assert RejectedClick.objects.filter(reason="prefetch").count() == outcomes["clicks prefetch"]
    assert {auction.model_version for auction in Auction.objects.all()} == {"scripted answers"}


def test_every_fact_lies_at_its_simulated_moment(demo):
    run = start_run(visitors=20, days=7, seed=3, engine=SCRIPTED)
    run_traffic(run)
    planned = [visit.at for visit in plan_visits(visitors=20, days=7, seed=3, until=run.started_at)]

    assert list(Turn.objects.values_list("created_at", flat=True)) == planned
    assert sorted(Auction.objects.values_list("created_at", flat=True)) == planned
    for click in Click.objects.select_related("impression__candidate__auction"):
        assert timedelta(0) < click.created_at - click.impression.candidate.auction.created_at < timedelta(minutes=2)


def test_without_play_money_nobody_is_simulated(transactional_db):
    market.acme()
    with pytest.raises(InvalidInput, match="not marked as demo"):
        start_run(visitors=1)
    with pytest.raises(CommandError, match="not marked as demo"):
        call_command("simulate_traffic", "--visitors", "1")
    assert not TrafficRun.objects.exists()


@pytest.mark.parametrize("figures", [{"visitors": 0}, {"visitors": 10**6}, {"visitors": 1, "days": 0}])
def test_figures_that_make_no_sense_are_refused(demo, figures):
    with pytest.raises(InvalidInput):
        start_run(**figures)


def test_a_cancelled_run_stops_before_the_next_visit_and_can_go_on(demo):
    run = start_run(visitors=10, seed=3, engine=SCRIPTED)
    run_traffic(run, report=lambda run: run.done == 4 and cancel_run(run.pk))
    assert (run.status, run.done) == (TrafficRun.Status.CANCELLED, 5)  # the cancel came while the fifth was asking

    call_command("simulate_traffic", "--resume", stdout=StringIO(), stderr=StringIO())

    run.refresh_from_db()
    assert (run.status, run.done) == (TrafficRun.Status.COMPLETE, 10)
    assert Turn.objects.count() == Auction.objects.count() == 10


def test_a_run_delivered_twice_is_carried_out_once(demo):
    run = start_run(visitors=5, seed=3, engine=SCRIPTED)
    workers = [threading.Thread(target=lambda: (tasks.simulate_traffic(run.pk), connection.close())) for _ in range(2)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]

    assert Turn.objects.count() == 5
    run.refresh_from_db()
    assert run.status == TrafficRun.Status.COMPLETE


def test_a_run_left_by_a_dead_worker_can_go_on(demo):
    run = start_run(visitors=5, seed=3, engine=SCRIPTED)
    TrafficRun.objects.filter(pk=run.pk).update(
        status="running", done=2, updated_at=timezone.now() - timedelta(minutes=10)
    )
    assert traffic.unfinished_run() == run
    run_traffic(TrafficRun.objects.get(pk=run.pk))

    assert Turn.objects.count() == 3


def test_a_model_server_that_is_down_ends_the_run_with_its_reason(demo):
    run = start_run(visitors=50)
    outcomes = run_traffic(run, engine=ScriptedEngine(["x"], fail_after=0, error=EngineUnavailable()))

    assert run.status == TrafficRun.Status.FAILED
    assert "not available" in run.error
    assert outcomes["questions"] == traffic.FAILURES_IN_A_ROW
    assert not Impression.objects.exists()


def test_a_site_that_takes_no_more_questions_ends_the_run_with_its_reason(demo, settings):
    settings.ANSWERS_PER_DAY = 0
    run = start_run(visitors=2)
    run_traffic(run, engine=ScriptedEngine(["x"]))

    assert (run.status, run.done) == (TrafficRun.Status.FAILED, 0)
    assert "tomorrow" in run.error


def test_simulated_visitors_wait_while_a_person_is_being_answered(demo):
    person = traffic.answer_query(query="Which mug?", engine=ScriptedEngine(["This one."]))
    Turn.objects.filter(pk=person.pk).update(status="streaming")
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(Turn.objects.filter(origin="demo").count())
        if len(waited) == 3:
            Turn.objects.filter(pk=person.pk).update(status="complete")

    run_traffic(start_run(visitors=2, seed=3, engine=SCRIPTED), sleep=sleep)

    assert waited == [0, 0, 0]
    assert Turn.objects.filter(origin="demo").count() == 2


def test_a_waiting_run_hears_that_it_is_cancelled(demo):
    person = traffic.answer_query(query="Which mug?", engine=ScriptedEngine(["This one."]))
    Turn.objects.filter(pk=person.pk).update(status="streaming")
    run = start_run(visitors=2, engine=SCRIPTED)
    run_traffic(run, sleep=lambda seconds: cancel_run(run.pk))

    assert run.status == TrafficRun.Status.CANCELLED


def test_the_command_reports_what_came_of_it(demo):
    out, progress = StringIO(), StringIO()
    call_command("simulate_traffic", "--visitors", "20", "--engine", "scripted", "--json", stdout=out, stderr=progress)
    told = json.loads(out.getvalue())

    assert (told["status"], told["questions"]) == ("complete", 20)
    assert told["charged micros"] == sum(Click.objects.values_list("charged_micros", flat=True))
    assert "20/20 visitors" in progress.getvalue()


@pytest.mark.parametrize(
    ("shipped", "names"), [(True, [registry.BUILTIN_NAME, registry.IRPO_NAME]), (False, [registry.BUILTIN_NAME])]
)
def test_visitors_may_ask_the_model_before_and_after_irpo_in_turns(demo, settings, tmp_path, shipped, names):
    settings.AD_LLM_MODEL = str(settings.LAB_MODEL_DIR)
    settings.LAB_IRPO_MODEL_DIR = tmp_path
    if shipped:
        (tmp_path / "config.json").touch()
    run_traffic(start_run(visitors=6, engine=TrafficRun.Engine.BOTH), engine=ScriptedEngine(["A tip."]))

    assert [turn.model_version.name for turn in Turn.objects.order_by("created_at")] == names * (6 // len(names))


def sent_to_workers(monkeypatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr(tasks.simulate_traffic, "delay", sent.append)
    return sent


def test_first_visitors_are_sent_once_and_by_a_worker(demo, monkeypatch):
    sent = sent_to_workers(monkeypatch)
    call_command("simulate_traffic", "--first", "--visitors", "3", stdout=StringIO())
    run = TrafficRun.objects.get()
    assert sent == [run.pk]
    run.status = TrafficRun.Status.COMPLETE
    run.save()
    call_command("simulate_traffic", "--first", stdout=StringIO())
    assert sent == [run.pk]


def test_first_visitors_that_never_arrived_are_sent_again(demo, monkeypatch):
    sent = sent_to_workers(monkeypatch)
    for _ in range(2):  # the second start of a site whose worker was killed before the first visit
        call_command("simulate_traffic", "--first", "--visitors", "3", stdout=StringIO())
    assert sent == [TrafficRun.objects.get().pk] * 2


def test_worker_that_is_asked_to_stop_puts_its_run_back(demo):
    ours, others = start_run(visitors=3), start_run(visitors=3)
    TrafficRun.objects.update(status=TrafficRun.Status.RUNNING)
    tasks._going_on.add(ours.pk)
    try:
        tasks.put_runs_back()
    finally:
        tasks._going_on.discard(ours.pk)
    ours.refresh_from_db()
    others.refresh_from_db()
    assert (ours.status, others.status) == (TrafficRun.Status.QUEUED, TrafficRun.Status.RUNNING)
