"""Runs in the database: claimed once, stopped between batches, resumed to the same files."""

import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.admin.sites import site as admin_site
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone

from training import runs, simulating, stages, tasks
from training.models import STALE_AFTER, Stage, TrainingRun
from training.simulation.sampling import SamplingError, ScriptedSampler

pytestmark = pytest.mark.django_db
Status = Stage.Status
ASKED = {"preset": "tiny", "seed": 3, "queries": 6, "samples": 2}
FILES = ("manifest.json", "auctions.jsonl", "responses.jsonl", "clicks.jsonl", "summary.json")


class Nobody:
    """A click model that needs no encoder: nobody clicks."""

    name = "nobody"

    def feedback_many(self, exposures, *, ads, seed):
        from training.dataset.records import Feedback

        return [Feedback(each.response.query_id, each.response.sample, ()) for each in exposures]


@pytest.fixture(autouse=True)
def _run_folders(settings, tmp_path):
    settings.VAR_DIR = tmp_path


@pytest.fixture
def sampler(monkeypatch):
    """Answers without a model, two queries at a time; the fake we ship."""
    scripted = ScriptedSampler(lambda request, number, seed: f"Take number {seed % 97}.", together=2)
    monkeypatch.setattr(simulating, "sampler_of", lambda asked, context: scripted)
    monkeypatch.setattr(simulating, "click_model_of", lambda asked: (Nobody(), {}))
    return scripted


@pytest.fixture
def start(sent, django_capture_on_commit_callbacks):
    def start(**options) -> TrainingRun:
        with django_capture_on_commit_callbacks(execute=True):
            return runs.start(kind="simulation", asked=ASKED, **options)

    return start


def statuses(run: TrainingRun) -> list[str]:
    return list(run.stages.values_list("status", flat=True))


def content(run: TrainingRun) -> dict[str, bytes]:
    return {name: (run.folder / name).read_bytes() for name in FILES}


def test_a_run_goes_through_its_stages_one_task_each(start, sent, work, sampler):
    run = start()
    first, second = run.stages.all()
    assert (sent, statuses(run)) == ([first.pk], ["queued", "waiting"])
    work()
    assert statuses(run) == ["complete", "complete"]
    assert run.folder == Path(run.folder.parent.parent, "runs", str(run.pk))
    assert json.loads((run.folder / "summary.json").read_text())["answers"] == 12
    second.refresh_from_db()
    assert (second.step, second.done, second.total, second.attempt) == ("clicks", 12, 12, 1)
    assert second.tokens == 0  # of the step: clicks write none


def test_a_task_that_is_delivered_twice_is_harmless(start, sent, work, sampler):
    run = start()
    sent.append(sent[0])
    work()
    tasks.run_stage(run.stages.first().pk)
    assert statuses(run) == ["complete", "complete"]
    assert set(run.stages.values_list("attempt", flat=True)) == {1}


def test_the_database_refuses_a_second_stage_of_a_kind(start):
    run = start()
    with pytest.raises(IntegrityError), transaction.atomic():
        Stage.objects.create(run=run, kind=Stage.Kind.WORLD)
    Stage.objects.create(run=run, kind=Stage.Kind.WORLD, epoch=1)


def stop_at(monkeypatch, step: str, done: int, act) -> None:
    """Call `act` when that many rows of the step are there, before the stage saves them."""
    save = runs._Watch.__call__
    monkeypatch.setattr(runs, "SAVE_EVERY_S", 0)

    def watch(self, at, rows, total, tokens):
        if (at, rows) == (step, done):
            act()
        save(self, at, rows, total, tokens)

    monkeypatch.setattr(runs._Watch, "__call__", watch)


@pytest.mark.parametrize(("step", "done"), [("auctions", 0), ("responses", 0), ("responses", 6), ("clicks", 0)])
def test_a_cancelled_run_resumes_to_the_same_bytes(
    start, work, sent, sampler, monkeypatch, step, done, django_capture_on_commit_callbacks
):
    whole = start()
    work()
    run = start()
    with monkeypatch.context() as patch:
        stop_at(patch, step, done, lambda: runs.cancel(run))
        work()
    assert statuses(run) == ["complete", "cancelled"]
    assert not (run.folder / "summary.json").exists()
    assert sent == []
    with django_capture_on_commit_callbacks(execute=True):
        assert runs.resume(run)
    work()
    assert statuses(run) == ["complete", "complete"]
    assert content(run) == content(whole)
    assert not runs.resume(run)  # nothing is left to do
    assert not runs.cancel(run)


def test_a_run_that_waits_can_be_cancelled(start, work, sampler):
    run = start()
    assert runs.cancel(run)
    work()
    assert statuses(run) == ["cancelled", "cancelled"]
    assert sampler.asked == []


def test_what_fails_is_told_in_one_sentence_and_can_be_resumed(
    start, work, sent, sampler, monkeypatch, django_capture_on_commit_callbacks
):
    run = start()
    with monkeypatch.context() as patch:

        def refuse(*args, **options):
            raise SamplingError("The server is gone")

        patch.setattr(sampler, "sample", refuse)
        work()
    failed = run.stages.last()
    assert (failed.status, failed.error, sent) == ("failed", "The server is gone", [])
    with django_capture_on_commit_callbacks(execute=True):
        runs.resume(run)
    work()
    assert statuses(run) == ["complete", "complete"]
    assert run.stages.last().error == ""


def test_an_unexpected_error_is_logged_and_named(start, work, sampler, monkeypatch, caplog):
    monkeypatch.setattr(sampler, "sample", lambda *args, **options: 1 / 0)
    run = start()
    work()
    assert run.stages.last().error == "Unexpected ZeroDivisionError: division by zero"
    assert "Traceback" in caplog.text


def left(run: TrainingRun, **changes) -> Stage:
    """The run's first stage, as a worker leaves it that was killed."""
    changes = {"status": Status.RUNNING, "attempt": 1, "heartbeat_at": timezone.now() - 2 * STALE_AFTER} | changes
    run.stages.filter(kind="world").update(**changes)
    return run.stages.first()


def test_a_stage_whose_worker_died_is_queued_again(start, sent, work, sampler, django_capture_on_commit_callbacks):
    run = start()
    sent.clear()
    stage = left(run)
    with django_capture_on_commit_callbacks(execute=True):
        tasks.resume_stale_stages()
    assert sent == [stage.pk]
    work()
    assert statuses(run) == ["complete", "complete"]
    assert run.stages.first().attempt == 2


def test_a_stage_with_a_living_worker_is_left_alone(start, sent, django_capture_on_commit_callbacks):
    run = start()
    sent.clear()
    left(run, heartbeat_at=timezone.now() - STALE_AFTER / 2)
    with django_capture_on_commit_callbacks(execute=True):
        assert runs.resume_stale() == 0
        assert not runs.resume(run)
    assert (sent, statuses(run)) == ([], ["running", "waiting"])


def test_a_stage_that_kills_its_workers_fails_in_the_end(start, sent, django_capture_on_commit_callbacks):
    run = start()
    for _ in range(runs.MOST_DEATHS):
        left(run)
        with django_capture_on_commit_callbacks(execute=True):
            runs.resume_stale()
    assert run.stages.first().status == Status.FAILED
    assert "died 5 times" in run.stages.first().error


def test_a_lost_message_is_sent_again_once_nobody_works(start, sent, django_capture_on_commit_callbacks):
    lost, other = start(), start()
    sent.clear()
    Stage.objects.filter(status=Status.QUEUED).update(heartbeat_at=timezone.now() - STALE_AFTER)
    left(other, heartbeat_at=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):
        runs.resume_stale()
    assert sent == []  # it waits behind the other run
    other.stages.update(status=Status.COMPLETE)
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            runs.resume_stale()
    assert sent == [lost.stages.first().pk]  # once: it was sent a moment ago


def test_a_worker_that_lost_its_stage_writes_nothing_more(start, sent, work, sampler, monkeypatch):
    run = start()

    def another_takes_it():
        run.stages.filter(kind="simulate").update(attempt=7, heartbeat_at=timezone.now())

    stop_at(monkeypatch, "responses", 4, another_takes_it)
    work()
    stage = run.stages.last()
    assert (stage.status, stage.attempt, stage.done) == ("running", 7, 2)
    assert not (run.folder / "responses.jsonl").exists()


def test_a_worker_that_is_asked_to_stop_puts_its_stage_back(start, work, sampler, monkeypatch):
    run = start()
    stop_at(monkeypatch, "responses", 4, tasks.put_stages_back)
    work()
    assert statuses(run) == ["complete", "queued"]
    assert not tasks._going_on


def test_progress_is_saved_once_a_second_and_at_every_step(start, sampler, django_assert_num_queries):
    stage = runs._claim(start().stages.first().pk)
    now = [100.0]
    watch = runs._Watch(stage, clock=lambda: now[0])
    with django_assert_num_queries(1):
        for done in range(50):
            watch("responses", done, 100, done)
    now[0] += runs.SAVE_EVERY_S
    with django_assert_num_queries(2):
        watch("responses", 60, 100, 60)
        watch("clicks", 0, 100, 0)
    with django_assert_num_queries(1):
        watch("clicks", 100, 100, 0)


def test_time_left_follows_the_pace_of_this_attempt():
    now = timezone.now()
    stage = Stage(status=Status.RUNNING, done=150, total=400, step_from=100, step_at=now, heartbeat_at=now)
    stage.heartbeat_at = now + timedelta(seconds=10)
    assert stage.seconds_left == 50  # 250 rows at 5 a second
    stage.done = 100
    assert stage.seconds_left is None


@pytest.mark.django_db(transaction=True)
def test_a_long_batch_gives_signs_of_life(sent, monkeypatch):
    monkeypatch.setattr(runs, "BEAT_EVERY_S", 0.05)
    run = runs.start(kind="simulation", asked=ASKED)
    stage = runs._claim(run.stages.first().pk)
    before = stage.heartbeat_at
    with runs._heart(stage):
        for _ in range(200):
            stage.refresh_from_db()
            if stage.heartbeat_at > before:
                break
            threading.Event().wait(0.05)
    assert stage.heartbeat_at > before


def test_own_ads_and_questions_are_the_run_s_world(start, work, sampler):
    ads = b'{"id": "Ad-4000", "title": "Acme Mug"}\n'
    run = start(files={stages.ADS: ads, stages.QUERIES: b'{"text": "Which mug?"}\n'})
    work()
    figures = json.loads((run.folder / "summary.json").read_text())
    assert (figures["queries"], figures["answers"]) == (1, 2)
    assert json.loads((run.folder / "auctions.jsonl").read_text())["ad_ids"] == ["Ad-4000"]


def test_the_admin_reads_runs_and_changes_none(start, admin_client):
    run = start()
    for model, row in ((TrainingRun, run), (Stage, run.stages.first())):
        name = f"admin:training_{model._meta.model_name}"
        assert admin_client.get(reverse(f"{name}_changelist")).status_code == 200
        page = admin_client.get(reverse(f"{name}_change", args=[row.pk]))
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
        assert admin_client.post(reverse(f"{name}_delete", args=[row.pk])).status_code == 403
        assert model in admin_site._registry
