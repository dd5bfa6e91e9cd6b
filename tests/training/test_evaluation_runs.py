"""An evaluation as a run: the same figures as by command, on a page that says which policy is the yardstick."""

import json

import pytest
from django.urls import reverse

from training import runs, stages
from training.evaluating import Evaluation, evaluate
from training.models import Stage, TrainingRun

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("one_thread_here")]
Status = Stage.Status


@pytest.fixture(scope="module")
def asked(tiny_model) -> dict:
    # Two names that a database which sorts keys would put in the other order.
    return {
        "policies": [["zulu", str(tiny_model)], ["alpha-guided", str(tiny_model)]], "guided": ["alpha-guided"],
        "preset": "tiny", "questions": 2, "seeds": [0, 1], "sweep": 1, "max_tokens": 12, "clicks": "held-out",
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone(asked, tmp_path_factory) -> dict:
    """What the command finds, once for all tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    policies = dict(asked["policies"])
    found = evaluate(Evaluation(**asked | {"policies": policies}), out=tmp_path_factory.mktemp("alone"), resume=False)
    torch.set_num_threads(before)
    return found


@pytest.fixture
def start(sent, asked, django_capture_on_commit_callbacks):
    def start(**changes) -> TrainingRun:
        with django_capture_on_commit_callbacks(execute=True):
            return runs.start(kind="evaluation", asked=asked | changes)

    return start


def result(run: TrainingRun) -> dict:
    return json.loads((run.folder / "result.json").read_text())


def test_a_run_finds_what_the_command_finds_and_shows_it(start, work, alone, admin_client):
    run = start()
    work()
    run = TrainingRun.objects.get()  # as the database gives it back
    assert run.status == Status.COMPLETE, run.current.error
    assert result(run) == alone
    assert result(run)["against"]["first"] == "zulu"
    assert run.about == "zulu, alpha-guided: 2 questions, 2 seeds, bids swept in 1"
    page = admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    assert "4 answers to" in page
    assert page.index("zulu</th>") < page.index("alpha-guided</th>")
    assert result(run)["policies"]["alpha-guided"]["share_with_format_error"]["mean"] == 0
    row = page[page.index("Answers with a format error") :].split("</tr>")[0]
    assert row.split("<td")[2].startswith(' class="number">0.0%<span')
    chart = admin_client.get(reverse("training_run_chart", args=[run.pk])).json()
    assert chart["labels"] == ["1", *(f"{bid}" for bid in range(10, 101, 10))]
    assert {series["name"] for series in chart["series"]} == {"zulu", "alpha-guided"}
    assert f"Evaluation {run.pk}" in admin_client.get(reverse("training")).content.decode()


def test_a_rank_correlation_is_shown_with_its_interval_or_called_unknown(start, work, admin_client):
    run = start()
    work()
    found = result(run)
    found["sweep"]["zulu"] |= {"rank_correlation": 0.9726, "interval": {"mean": 0.9726, "low": 0.8712, "high": 0.994}}
    found["sweep"]["alpha-guided"] |= {"rank_correlation": None, "interval": None}
    (run.folder / "result.json").write_text(json.dumps(found))
    page = admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    assert "zulu: rank correlation 0.97 (0.87 to 0.99); alpha-guided: rank correlation unknown<" in page


def test_a_cancelled_evaluation_resumes_to_the_same_figures(
    start, work, alone, monkeypatch, django_capture_on_commit_callbacks
):
    run, seen, save = start(), [], runs._Watch.__call__
    monkeypatch.setattr(runs, "SAVE_EVERY_S", 0)

    def watch(self, step, done, total, tokens):
        if step == "alpha-guided, seed 0: responses" and not seen:
            seen.append(step)
            runs.cancel(run)
        save(self, step, done, total, tokens)

    monkeypatch.setattr(runs._Watch, "__call__", watch)
    work()
    assert (seen, run.status) == (["alpha-guided, seed 0: responses"], Status.CANCELLED)
    with django_capture_on_commit_callbacks(execute=True):
        runs.resume(run)
    work()
    assert result(run) == alone


def test_a_policy_whose_folder_is_gone_is_told_in_one_sentence(start, work):
    run = start(policies=[["gone", "no-such-folder/at-all"]], guided=[])
    work()
    assert run.status == Status.FAILED
    assert run.current.error.startswith("No model could be loaded from no-such-folder/at-all")


@pytest.fixture
def _two_models(settings, tmp_path):
    for name in ("LAB_MODEL_DIR", "LAB_IRPO_MODEL_DIR"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        setattr(settings, name, folder)


@pytest.mark.usefixtures("_two_models")
def test_the_form_offers_what_is_there_and_keeps_the_order(admin_client, sent, settings):
    trained = runs.start(kind="irpo", asked={"preset": "lab", "seed": 0, "reward": "context", "algorithm": "dpo"})
    address = reverse("training_evaluation")
    assert "irpo-" not in admin_client.get(address).content.decode().replace("irpo-guided", "")
    trained.stages.update(status=Status.COMPLETE)
    (trained.folder / stages.SHIPPED).mkdir()
    (trained.folder / stages.SHIPPED / "config.json").write_text("{}")
    assert f"irpo-{trained.pk}, only true markers" in admin_client.get(address).content.decode()
    chosen = ["base", f"irpo-{trained.pk}-guided"]
    answer = admin_client.post(address, {"policies": chosen, "questions": "5", "seeds": "2", "clicks": "held-out"})
    run = TrainingRun.objects.get(kind="evaluation")
    assert answer.headers["Location"] == reverse("training_run", args=[run.pk])
    assert run.asked == {
        "policies": [["base", str(settings.LAB_MODEL_DIR)], [chosen[1], str(trained.folder / stages.SHIPPED)]],
        "guided": [chosen[1]], "questions": 5, "seeds": [0, 1], "sweep": 0, "clicks": "held-out",
    }  # fmt: skip


@pytest.mark.usefixtures("_two_models")
@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"policies": []}, "required"),
        ({"policies": ["elsewhere"]}, "not one of the available choices"),
        ({"questions": "0"}, "greater than or equal to 1"),
        ({"seeds": "11"}, "less than or equal to 10"),
        ({"sweep": "-1"}, "greater than or equal to 0"),
        ({"clicks": "everybody"}, "Select a valid choice"),
    ],
)
def test_what_makes_no_sense_is_told_beside_the_field(admin_client, changes, complaint):
    asked = {"policies": ["base"], "questions": "5", "seeds": "2", "clicks": "behavioural"} | changes
    answer = admin_client.post(reverse("training_evaluation"), asked)
    assert answer.status_code == 422
    assert complaint in answer.content.decode()
    assert not TrainingRun.objects.exists()


def test_a_run_without_a_chart_has_none(start, admin_client):
    run = start()
    assert admin_client.get(reverse("training_run_chart", args=[run.pk])).status_code == 404
    page = admin_client.get(reverse("training_run", args=[run.pk])).content.decode()
    assert "Figures appear here" in page
    assert admin_client.post(reverse("training_run_register", args=[run.pk])).status_code == 404
