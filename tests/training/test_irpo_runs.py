"""IRPO as a run: the same stages and the same bytes as by command, and a policy that the chat can ask afterwards."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from chat.models import ModelVersion
from tests.fake_openai import FakeOpenAI, Plan, free_port
from training import runs, stages
from training.improving import CannotImprove, Improvement, improve
from training.models import Stage, TrainingRun

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from training.irpo import reward_source  # noqa: E402
from training.irpo.phases import Phases  # noqa: E402
from training.reward_model.fit import BiasedPCTR  # noqa: E402

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("one_thread_here")]
Status = Stage.Status
HTMX = {"HX-Request": "true"}
TINY = {"preset": "tiny", "seed": 0, "algorithm": "dpo", "reward": "oracle", "epochs": 1}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of the same training by command, once for all tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("alone") / "run"
    for _ in improve(Improvement(**TINY), out=out, resume=False, progress=lambda *_: None):
        pass
    torch.set_num_threads(before)
    return out


@pytest.fixture
def start(sent, django_capture_on_commit_callbacks):
    def start(**changes) -> TrainingRun:
        with django_capture_on_commit_callbacks(execute=True):
            return runs.start(kind="irpo", asked=TINY | changes)

    return start


def told(run: TrainingRun) -> list[tuple[int, str, str]]:
    return list(run.stages.values_list("epoch", "kind", "status"))


def result(run: TrainingRun) -> dict:
    return json.loads((run.folder / "result.json").read_text())


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_every_stage_is_a_task_and_all_end_where_the_command_ends(start, work, alone):
    run = start()
    work()
    planned = [(0, "test"), (0, "metrics"), (1, "offline"), (1, "preferences"), (1, "dpo"), (1, "test"), (1, "metrics")]
    assert told(run) == [(epoch, kind, "complete") for epoch, kind in [*planned, (1, "ship")]]
    assert set(run.stages.values_list("attempt", flat=True)) == {1}
    assert result(run) == {"policy": "epoch-01/policy", "epochs": 1, "stopped": None}
    assert weights(run.folder / "epoch-01" / "policy") == weights(alone / "epoch-01" / "policy")
    assert {"README.md", "config.json", "model.safetensors"} <= {p.name for p in (run.folder / "shipped").iterdir()}


@pytest.mark.parametrize(("step", "done"), [("test responses", 2), ("offline 2 responses", 4), ("dpo", 1)])
def test_a_cancelled_training_resumes_to_the_same_weights(
    start, work, alone, monkeypatch, step, done, django_capture_on_commit_callbacks
):
    run, seen, save = start(), [], runs._Watch.__call__
    monkeypatch.setattr(runs, "SAVE_EVERY_S", 0)

    def watch(self, at, rows, total, tokens):
        if at == step and rows >= done and not seen:
            seen.append(rows)
            runs.cancel(run)
        save(self, at, rows, total, tokens)

    monkeypatch.setattr(runs._Watch, "__call__", watch)
    work()
    assert seen
    assert run.status == Status.CANCELLED
    with django_capture_on_commit_callbacks(execute=True):
        assert runs.resume(run)
    work()
    assert weights(run.folder / "epoch-01" / "policy") == weights(alone / "epoch-01" / "policy")
    assert result(run) == json.loads((alone / "result.json").read_text())


def test_a_training_that_stops_early_leaves_no_stage_undone(start, work, monkeypatch, admin_client):
    monkeypatch.setattr(Phases, "gone_wrong", lambda self, epoch, kept: "collapsed in epoch 1: it fell silent")
    run = start(epochs=2)
    work()
    assert {status for _, _, status in told(run)} == {"complete"}
    assert result(run)["epochs"] == 0
    assert not (run.folder / "epoch-02" / "offline").exists()
    assert not (run.folder / "shipped").exists()
    page = admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    assert "It stopped early: collapsed in epoch 1: it fell silent." in page
    assert "keeps the model that it began with" in page
    assert "register/" not in page


def test_a_reward_model_that_is_biased_is_told_in_one_sentence(start, work, monkeypatch):
    def refuse(*args, **options):
        raise BiasedPCTR(SimpleNamespace(calibration=SimpleNamespace(biased=[])))

    monkeypatch.setattr(reward_source, "fit", refuse)
    run = start(reward="pctr")
    work()
    failed = run.current
    assert (failed.kind, failed.status) == ("pctr", "failed")
    assert failed.error.startswith("the pCTR is biased (Assumption 4.1) in 0 groups: ")
    assert failed.error.endswith("Another run may be told to go on with it.")


def test_nonsense_starts_nothing(start):
    with pytest.raises(CannotImprove, match="There is no preset huge"):
        start(preset="huge")
    assert not TrainingRun.objects.exists()


def test_the_form_starts_a_training_that_waits_for_its_worker(
    admin_client, admin_user, sent, django_capture_on_commit_callbacks
):
    asked = {"preset": "tiny", "algorithm": "dpo", "reward": "oracle", "epochs": "1", "seed": "5", "guided": "on"}
    with django_capture_on_commit_callbacks(execute=True):
        answer = admin_client.post(reverse("training_irpo"), asked)
    run = TrainingRun.objects.get()
    assert answer.headers["Location"] == reverse("training_run", args=[run.pk])
    assert (run.kind, run.created_by, run.asked["offline_queries"]) == ("irpo", admin_user, None)
    assert (run.asked["guided"], run.asked["allow_bias"]) == (True, False)
    assert sent == [run.stages.first().pk]
    page = admin_client.get(answer.headers["Location"]).content.decode()
    assert "0 of 8 stages done" in page
    assert "waiting for the training worker" in page


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"preset": "paper"}, "Select a valid choice"),  # needs GPUs: for the shell
        ({"epochs": "0"}, "greater than or equal to 1"),
        ({"epochs": "21"}, "less than or equal to 20"),
        ({"offline_queries": "1"}, "greater than or equal to 2"),
        ({"reward": "guess"}, "Select a valid choice"),
        ({"seed": ""}, "required"),
    ],
)
def test_what_makes_no_sense_is_told_beside_the_field(admin_client, changes, complaint):
    asked = {"preset": "tiny", "algorithm": "dpo", "reward": "oracle", "seed": "1"} | changes
    answer = admin_client.post(reverse("training_irpo"), asked)
    assert answer.status_code == 422
    assert complaint in answer.content.decode()
    assert not TrainingRun.objects.exists()


def test_a_finished_training_shows_its_epochs_and_its_files(start, work, admin_client):
    run = start()
    work()
    page = admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    assert "The policy to keep is that of epoch 1" in page
    assert "writes nonsense" in page  # a tiny model is not for the chat
    assert [f"epoch-01/{name}" in page for name in ("metrics.json", "dpo/steps.jsonl", "pctr/fit.json")] == [1, 1, 0]
    chart = admin_client.get(reverse("training_run_chart", args=[run.pk])).json()
    assert chart["labels"] == ["before", "epoch 1"]
    kept = json.loads((run.folder / "epoch-01" / "metrics.json").read_text())["test"]
    assert [each["values"][1] for each in chart["series"]] == [kept["revenue"], kept["reward"]]
    row = admin_client.get(reverse("training")).content.decode()
    assert f"IRPO {run.pk}" in row
    assert f"{kept['ads_per_answer']}" in row


@pytest.fixture
def trained(start):
    """A finished run of the lab preset with a policy; nothing was trained for it."""
    run = start(preset="lab", epochs=1)
    run.stages.update(status=Status.COMPLETE)
    (run.folder / "shipped").mkdir()
    (run.folder / "shipped" / "config.json").write_text("{}")
    (run.folder / "result.json").write_text(json.dumps({"policy": "epoch-01/policy", "epochs": 1, "stopped": None}))
    return run


def test_its_policy_becomes_a_model_version_once(trained, admin_client, settings):
    address = reverse("training_run_register", args=[trained.pk])
    with FakeOpenAI(plan=Plan(text="Hello.")) as fake:
        settings.AD_LLM_BASE_URL = fake.base_url
        assert (
            "Add it to the model versions"
            in admin_client.get(reverse("training_run", args=[trained.pk])).content.decode()
        )
        for _ in range(2):
            part = admin_client.post(address, headers=HTMX)
            assert part.status_code == 200
        assert fake.requests[0]["model"] == str(trained.folder / stages.SHIPPED)
    version = ModelVersion.objects.get()
    assert (version.name, version.model) == (f"IRPO {trained.pk}", str(trained.folder / stages.SHIPPED))
    assert not version.is_live
    assert f"The chat can ask it as <b>{version.name}</b>" in part.content.decode()


@pytest.mark.parametrize("status", [404, None])
def test_a_server_that_does_not_know_the_policy_gets_no_version(trained, admin_client, settings, status):
    with FakeOpenAI(plan=Plan(status=status or 200)) as fake:
        settings.AD_LLM_BASE_URL = fake.base_url if status else f"http://127.0.0.1:{free_port()}/v1"
        answer = admin_client.post(reverse("training_run_register", args=[trained.pk]), headers=HTMX)
    assert answer.status_code == 422  # which htmx shows
    assert "does not answer with" in answer.content.decode()
    assert not ModelVersion.objects.exists()


def test_only_who_may_add_models_adds_one(trained, client, alice):
    alice.is_staff = True
    alice.save()
    client.force_login(alice)
    address = reverse("training_run_register", args=[trained.pk])
    assert "Add it" not in client.get(reverse("training_run", args=[trained.pk])).content.decode()
    assert client.post(address).status_code == 403
    alice.user_permissions.add(Permission.objects.get(codename="add_modelversion"))
    assert "Add it" in client.get(reverse("training_run", args=[trained.pk])).content.decode()


def test_a_run_without_a_policy_offers_none(trained, admin_client):
    (trained.folder / "shipped" / "config.json").unlink()
    assert admin_client.post(reverse("training_run_register", args=[trained.pk])).status_code == 404
    with pytest.raises(runs.NotServed, match="no policy"):
        runs.register(trained)
