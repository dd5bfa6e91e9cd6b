"""The pages of the loop: for staff alone, honest about how far a run is, and only finished files go out."""

import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from training import runs, stages
from training.models import STALE_AFTER, Stage, TrainingRun
from training.simulation.summary import summarize

pytestmark = pytest.mark.django_db
Status = Stage.Status
HTMX = {"HX-Request": "true"}


@pytest.fixture(autouse=True)
def _nothing_is_sent_or_kept(sent, settings, tmp_path):
    settings.VAR_DIR = tmp_path


def make_run(status: str = Status.RUNNING, **changes) -> TrainingRun:
    run = runs.start(kind="simulation", asked={"preset": "tiny", "seed": 3, "queries": None, "samples": 2})
    run.stages.filter(kind="world").update(status=Status.COMPLETE)
    changes = {"step": "responses", "done": 3, "total": 12, "heartbeat_at": timezone.now()} | changes
    run.stages.filter(kind="simulate").update(status=status, **changes)
    if status == Status.COMPLETE:
        (run.folder / "summary.json").write_text(json.dumps(summarize([], ads={}) | {"revenue_per_query": 12.5}))
    return run


def addresses(run: TrainingRun) -> list[tuple[str, str]]:
    named = [("get", reverse("training")), ("post", reverse("training")), ("get", reverse("training_runs"))]
    named += [("get", reverse("training_run", args=[run.pk]))]
    named += [("post", reverse(f"training_run_{what}", args=[run.pk])) for what in ("cancel", "resume", "register")]
    named += [(how, reverse(f"training_{what}")) for how in ("get", "post") for what in ("irpo", "evaluation")]
    named += [("get", reverse("training_run_chart", args=[run.pk]))]
    return [*named, ("get", reverse("training_run_file", args=[run.pk, "summary.json"]))]


def test_nobody_but_staff_may_see_or_do_anything(client, alice, analyst):
    run = make_run()
    for method, address in addresses(run):
        client.logout()
        assert getattr(client, method)(address).status_code == 302, address  # to the log-in
        for person in (alice, analyst):
            client.force_login(person)
            assert getattr(client, method)(address, headers=HTMX).status_code == 403, address
    assert TrainingRun.objects.count() == 1
    assert run.stages.last().status == Status.RUNNING


def test_only_staff_find_the_pages_in_the_navigation(client, admin_client, alice):
    link = f'href="{reverse("training")}"'
    client.force_login(alice)
    assert link not in client.get("/").content.decode()
    assert link in admin_client.get("/").content.decode()


def test_one_member_of_staff_sees_and_stops_another_s_run(admin_client, alice):
    run = make_run()
    TrainingRun.objects.update(created_by=alice)
    assert "by alice" in admin_client.get(reverse("training")).content.decode()
    admin_client.post(reverse("training_run_cancel", args=[run.pk]))
    assert run.stages.last().status == Status.CANCELLED


def test_without_a_run_the_page_says_what_to_do(admin_client):
    page = admin_client.get(reverse("training")).content.decode()
    assert "No run yet" in page
    assert 'href="#new"' in page
    assert "every 2s" not in page  # nothing will change by itself


def test_the_form_starts_a_run(admin_client, admin_user, sent, django_capture_on_commit_callbacks):
    asked = {"preset": "tiny", "queries": "4", "samples": "", "seed": "7"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(reverse("training"), asked)
    run = TrainingRun.objects.get()
    assert answer.headers["Location"] == reverse("training_run", args=[run.pk])
    assert run.asked == {"preset": "tiny", "queries": 4, "samples": None, "seed": 7}
    assert (run.created_by, sent) == (admin_user, [run.stages.first().pk])
    assert "waiting for the training worker" in admin_client.get(reverse("training")).content.decode()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"preset": "paper"}, "Select a valid choice"),  # needs servers: for the shell
        ({"queries": "0"}, "greater than or equal to 1"),
        ({"queries": "1e9"}, "Enter a whole number"),
        ({"samples": "51"}, "less than or equal to 50"),
        ({"seed": ""}, "required"),
        ({"seed": "-1"}, "greater than or equal to 0"),
        ({"ads": b'{"id": "Ad-4000", "title": "Acme Mug"}\n{"id": "Ad-4001"}\n'}, "the file:2: title"),
        ({"ads": b"\xff"}, "the file: "),
        ({"own_queries": b'{"text": "Why?", "colour": "red"}'}, "the file:1: unknown field"),
        ({"own_queries": b""}, "The submitted file is empty"),
    ],
)
def test_what_makes_no_sense_is_told_beside_the_field(admin_client, changes, complaint):
    asked = {"preset": "tiny", "seed": "1"} | {
        name: SimpleUploadedFile("x", value) if isinstance(value, bytes) else value for name, value in changes.items()
    }
    answer = admin_client.post(reverse("training"), asked)
    assert answer.status_code == 422
    assert complaint in answer.content.decode()
    assert not TrainingRun.objects.exists()


def test_own_files_lie_in_the_run_s_folder(admin_client):
    ads = b'{"id": "Ad-4000", "title": "Acme Mug"}\n'
    admin_client.post(reverse("training"), {"preset": "tiny", "seed": "1", "ads": SimpleUploadedFile("../x", ads)})
    run = TrainingRun.objects.get()
    assert [path.name for path in run.folder.iterdir()] == [stages.ADS]
    assert (run.folder / stages.ADS).read_bytes() == ads


@pytest.mark.parametrize(
    ("status", "told", "button"),
    [
        (Status.QUEUED, "waiting for the training worker", "Cancel"),
        (Status.RUNNING, "responses: 3 of 12", "Cancel"),
        (Status.CANCELLED, "cancelled", "Resume"),
        (Status.FAILED, "failed", "Resume"),
        (Status.COMPLETE, "12.5", None),
    ],
)
def test_a_run_says_how_far_it_is_and_what_can_be_done(admin_client, status, told, button):
    run = make_run(status)
    page = admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    assert told in page
    assert re.findall(r"<button class=\"btn[^>]*>(Cancel|Resume)<", page) == ([button] if button else [])
    assert ("every 2s" in page) == (status in Stage.ACTIVE)
    part = admin_client.get(reverse("training_run", args=[run.pk]), headers=HTMX).content.decode()
    assert part.strip().startswith('<section id="run"')


def test_a_run_that_its_worker_left_can_be_resumed(admin_client, sent, django_capture_on_commit_callbacks):
    run = make_run(heartbeat_at=timezone.now() - 2 * STALE_AFTER)
    assert "no sign of life" in admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        part = admin_client.post(reverse("training_run_resume", args=[run.pk]), headers=HTMX).content.decode()
    assert "waiting for the training worker" in part
    assert sent == [run.stages.last().pk]


def test_an_error_is_shown_as_text(admin_client):
    run = make_run(Status.FAILED, error="<script>alert(1)</script>")
    page = admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    assert "&lt;script&gt;alert(1)" in page


def test_pages_hold_no_inline_script_or_style(admin_client):
    run = make_run(Status.COMPLETE)
    for address in (reverse("training"), reverse("training_run", args=[run.pk])):
        answer = admin_client.get(address)
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        html = answer.content.decode()
        assert all("src=" in tag.split(">")[0] for tag in html.split("<script")[1:])
        assert not re.search(r"<style|\sstyle=|\son\w+=|hx-on|javascript:", html)


def test_a_long_list_takes_as_many_queries_as_a_short_one(admin_client, django_assert_num_queries):
    make_run()
    for address in (reverse("training"), reverse("training_runs")):
        with django_assert_num_queries(5):  # session, user, count, runs, stages
            admin_client.get(address)
    for _ in range(25):
        make_run(Status.COMPLETE)
    for address in (reverse("training"), reverse("training_runs")):
        with django_assert_num_queries(5):
            page = admin_client.get(address).content.decode()
    assert page.count("ad-title") == 20
    assert "Page 1 of 2" in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_a_finished_file_can_be_kept(async_client, admin_user):
    from asgiref.sync import sync_to_async

    run = await sync_to_async(make_run)(Status.COMPLETE)
    (run.folder / "world").mkdir()
    (run.folder / "world" / "ads.jsonl").write_bytes("ü".encode() * 100_000)
    await async_client.aforce_login(admin_user)
    answer = await async_client.get(reverse("training_run_file", args=[run.pk, "world/ads.jsonl"]))
    assert answer.headers["Content-Disposition"] == f'attachment; filename="run-{run.pk}-ads.jsonl"'
    assert b"".join([part async for part in answer.streaming_content]) == "ü".encode() * 100_000


@pytest.mark.parametrize(
    "name",
    [
        "responses.jsonl",  # not there yet
        "responses.jsonl.part",  # there, and unfinished
        "secret.txt",  # there, and none of a run's
        "../../db.sqlite3",
        "world/../secret.txt",
        "..%2f..%2fdb.sqlite3",
    ],
)
def test_no_other_file_goes_out(admin_client, settings, name):
    run = make_run()
    for other in ("responses.jsonl.part", "secret.txt"):
        (run.folder / other).write_text("secret")
    (settings.VAR_DIR / "db.sqlite3").write_text("secret")
    address = reverse("training_run_file", args=[run.pk, "x"])[:-1] + name
    assert admin_client.get(address).status_code == 404


def test_a_folder_that_was_tidied_away_breaks_no_page(admin_client):
    run = make_run(Status.COMPLETE)
    (run.folder / "summary.json").unlink()
    assert admin_client.get(reverse("training_run", args=[run.pk])).status_code == 200
    assert admin_client.get(reverse("training_run", args=[run.pk + 1])).status_code == 404
