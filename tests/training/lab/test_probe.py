import json
import random

import pytest

torch = pytest.importorskip("torch")

from django.core.management import CommandError, call_command  # noqa: E402

from tests.training.lab.models import shipped  # noqa: E402
from training.lab import network, probe, reading  # noqa: E402


@pytest.mark.parametrize("skill", probe.SKILLS)
def test_a_probe_has_one_right_answer_among_unseen_brands(skill):
    rng = random.Random(1)
    for _ in range(30):
        ads, asked = probe.make_probe(rng, skill=skill, count=10)
        assert asked.right in ads
        assert 0 < asked.chance <= 0.5
        assert len({ad.candidate.title for ad in ads}) == 10
        bids = [
            ad.candidate.bid_micros for ad in ads if skill == reading.HIGHEST or ad.category == asked.right.category
        ]
        if skill in (reading.HIGHEST, reading.BEST):
            assert asked.right.candidate.bid_micros == max(bids)
            assert bids.count(max(bids)) == 1


def test_an_untrained_model_shows_no_skill():
    _, tok = shipped()
    model = network.new_model(vocabulary=len(tok), layers=(64, 128, 2), eos=tok.eos_token_id, pad=0, seed=1)
    figures = probe.probe(model=model, tok=tok, candidates=4, questions_each=6)
    assert {row["right"] for row in figures.values()} == {0.0}


@pytest.fixture(scope="module")
def figures():
    model, tok = shipped()
    return probe.probe(model=model, tok=tok, candidates=10, questions_each=25)


def test_the_shipped_model_tells_ads_apart(figures):
    """Under the targets that probe_lab_model holds it to, so that few questions suffice; far above chance."""
    assert figures[probe.COPY]["right"] >= 0.9
    for skill, least in ((reading.HIGHEST, 0.7), (reading.TOPIC, 0.7), (reading.BEST, 0.6)):
        assert figures[skill]["right"] >= least, figures


@pytest.mark.parametrize(
    ("right", "count"),
    [(0.98, 0), (0.95, 1), (0.85, 3), (0.5, 4)],  # copy alone has the highest target, best bid on topic the lowest
)
def test_missed_targets_are_named(right, count):
    figures = {10: {skill: {"right": right} for skill in probe.SKILLS}}
    problems = probe.missed(figures)
    assert len(problems) == count
    assert all("at 10 candidates is" in problem for problem in problems)


def test_the_command_refuses_lists_it_cannot_ask_about():
    with pytest.raises(CommandError, match="4 to 300"):
        call_command("probe_lab_model", "--candidates", "2")


def test_the_command_prints_figures_and_fails_on_a_missed_target(tmp_path, capsys):
    call_command("build_lab_model", "--preset", "tiny", "--out", str(tmp_path / "model"), "--threads", "1")
    capsys.readouterr()
    with pytest.raises(CommandError, match="the target is"):
        call_command(
            "probe_lab_model", "--model", str(tmp_path / "model"), "--candidates", "10", "--questions", "2", "--json"
        )
    assert set(json.loads(capsys.readouterr().out)["10"]) == set(probe.SKILLS)
