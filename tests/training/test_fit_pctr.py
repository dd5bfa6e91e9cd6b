import json
import random

import pytest
from django.core.management import CommandError, call_command

from tests.training.reward_model.shown import ADS, answer, chance, samples
from training.dataset import jsonl
from training.dataset.encoder import HashEncoder
from training.dataset.records import AdFeedback, Feedback
from training.management.commands import fit_pctr
from training.reward_model.fit import FitSettings, part_of
from training.reward_model.saving import load
from training.simulation.environment import RunSettings, simulate
from training.simulation.sampling import ScriptedSampler
from training.simulation.world import World, read_queries, read_world, write_world


class Shopper:
    """A click model with the tastes of `shown`."""

    name = "shopper"

    def feedback_many(self, exposures, *, ads, seed):
        found = []
        for exposure in exposures:
            response = exposure.response
            (ad_id,) = (one for one in ads if f"[{one}]" in response.text)
            inside = not response.text.endswith(("helps here.", "!"))
            known = chance(inside=inside, pushy="Special" in response.text)
            drawn = random.Random(f"{seed}/{response.query_id}/{response.sample}").random()
            told = (AdFeedback(ad_id, 0, drawn < known, ctr=known),)
            found.append(Feedback(response.query_id, response.sample, told))
        return found


def write(request, number, seed):
    rng = random.Random(seed)
    return answer(rng.choice(list(ADS.values())), inside=rng.random() < 0.5, pushy=rng.random() < 0.5)


def simulated(folder, *, world, samples=10):
    simulate(
        world=world,
        queries=world.queries,
        sampler=ScriptedSampler(write),
        click_model=Shopper(),
        settings=RunSettings(samples=samples),
        out=folder,
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run with its world inside."""
    folder = tmp_path_factory.mktemp("run")
    asked = [row.exposure for row in samples(200, users=100)]
    world = World(ADS, {one.profile.id: one.profile for one in asked}, [one.query for one in asked])
    write_world(folder / "world", world, {})
    return simulated(folder, world=read_world(folder / "world"))


@pytest.fixture(autouse=True)
def words_for_meanings(monkeypatch):
    monkeypatch.setattr(fit_pctr, "SentenceEncoder", lambda name: HashEncoder(dimensions=16))


def fit(run, out, *options):
    call_command("fit_pctr", "--run", str(run), "--out", str(out), *options)


def test_a_run_becomes_a_model_with_a_report_and_a_plot(run, tmp_path, capsys):
    fit(run, tmp_path / "psi", "--seed", "2")
    told = capsys.readouterr().out
    assert "context over hash-16, from nothing" in told
    assert "Assumption 4.1 holds" in told
    names = sorted(path.name for path in (tmp_path / "psi").iterdir())
    assert names == [
        "context-reliability.png", "context-report.json", "context.json", "context.safetensors", "vectors.sqlite",
    ]  # fmt: skip
    assert load(tmp_path / "psi", "context", encoder=HashEncoder(dimensions=16)).name == "context"
    report = json.loads((tmp_path / "psi" / "context-report.json").read_text())
    assert report["assumption_4_1_holds"]
    assert sum(one["count"] for one in report["calibration"]["bins"]) == report["rows"]["check"]


def test_an_earlier_model_is_updated(run, tmp_path, capsys):
    fit(run, tmp_path / "psi0", "--model", "pctr", "--allow-bias")
    capsys.readouterr()
    fit(run, tmp_path / "psi1", "--model", "pctr", "--from", str(tmp_path / "psi0"), "--json", "--allow-bias")
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["warm"]) == ("pctr", True)


def test_a_biased_pctr_is_reported_and_not_written(run, tmp_path, capsys):
    # The users kept to check are another kind of people: they click everything.
    world = read_world(run / "world")
    kept = {id_ for id_ in world.profiles if part_of(id_, split="train", settings=FitSettings()) == "check"}
    clicks = run / "clicks.jsonl"
    rows = list(jsonl.read(Feedback, clicks))
    other = tmp_path / "run"
    other.mkdir()
    for name in ("manifest.json", "auctions.jsonl", "responses.jsonl"):
        (other / name).write_bytes((run / name).read_bytes())
    users = {query.id: query.profile_id for query in world.queries}
    jsonl.write(
        other / "clicks.jsonl",
        [
            Feedback(row.query_id, row.sample, (AdFeedback(row.ads[0].ad_id, 0, True),))
            if users[row.query_id] in kept
            else row
            for row in rows
        ],
    )
    with pytest.raises(CommandError, match=r"Assumption 4\.1.*--allow-bias"):
        fit(other, tmp_path / "psi", "--world", str(run / "world"))
    assert "FAILS" in capsys.readouterr().out
    assert not (tmp_path / "psi" / "context.json").exists()
    assert json.loads((tmp_path / "psi" / "context-report.json").read_text())["biased"]
    fit(other, tmp_path / "psi", "--world", str(run / "world"), "--allow-bias")
    assert (tmp_path / "psi" / "context.json").exists()


def test_own_questions_run_through_the_same_code(tmp_path, capsys):
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(f'{{"text": "How do I brew tea number {n}?"}}\n' for n in range(200)))
    ads = tmp_path / "ads.jsonl"
    jsonl.write(ads, ADS.values())
    profiles, queries, _ = read_queries(questions, seed=0)
    world = World(ADS, {profile.id: profile for profile in profiles}, queries)
    run = simulated(tmp_path / "run", world=world, samples=5)
    fit(run, tmp_path / "psi", "--queries", str(questions), "--ads", str(ads), "--allow-bias", "--json")
    assert json.loads(capsys.readouterr().out)["rows"]["fit"] > 500


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--world", "none"), "holds no finished world"),
        (("--world", "none", "--ads", "a"), "brings its own ads"),
        (("--ads", "a"), "--ads needs --queries"),
        (("--from", "none"), "none holds no pCTR named context"),
    ],
)
def test_bad_arguments_are_told_in_one_line(run, tmp_path, options, complaint):
    with pytest.raises(CommandError, match=complaint):
        fit(run, tmp_path / "psi", *options)


def test_another_world_s_run_is_refused(run, tmp_path):
    fewer = read_world(run / "world")
    write_world(tmp_path / "world", World(dict(list(ADS.items())[:4]), fewer.profiles, fewer.queries), {})
    with pytest.raises(CommandError, match="over other ads"):
        fit(run, tmp_path / "psi", "--world", str(tmp_path / "world"))
    with pytest.raises(CommandError, match="holds no run of simulate"):
        fit(tmp_path, tmp_path / "psi", "--world", str(tmp_path / "world"))


def test_a_model_is_not_overwritten(run, tmp_path):
    fit(run, tmp_path / "psi", "--allow-bias")
    with pytest.raises(CommandError, match="already holds a pCTR named context"):
        fit(run, tmp_path / "psi", "--allow-bias")
