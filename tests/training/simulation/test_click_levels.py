import json

import numpy as np
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from training.dataset.encoder import HashEncoder
from training.dataset.placement import read
from training.simulation import click_levels
from training.simulation.click_plots import draw_all
from training.simulation.user import BehaviouralUser, HeldOutUser, UserParameters

ADS = click_levels.read_catalogue(settings.BASE_DIR / "campaigns" / "data" / "catalogue.json")


@pytest.mark.parametrize("situation", click_levels.SITUATIONS)
def test_a_situation_shows_the_ads_it_says(situation):
    plan = click_levels.SITUATIONS[situation]
    for exposure in click_levels.situation_exposures(ads=ADS, situation=situation, count=10, seed=1):
        shown = read(exposure.response.text, exposure.auction.candidates(ADS)).ads
        assert len(shown) == len(plan)
        assert [placed.pushy for placed in shown] == [style == "pushy" for _, style, _ in plan]
        assert [bool(placed.after) for placed in shown] == [place < 3 for place, _, _ in plan]


def test_levels_are_chances_and_rewards_follow_from_them():
    encoder = HashEncoder()
    rows = click_levels.levels(user=BehaviouralUser(encoder), held_out=HeldOutUser(), ads=ADS, count=20)
    assert [row.situation for row in rows] == list(click_levels.SITUATIONS)
    alone = rows[0]
    assert alone.reward_at_good_bid == pytest.approx(75 * alone.ctr - 10)  # Eq. 8 with one ad
    assert all(0 <= row.ctr <= 1 and 0 <= row.held_out_ctr <= 1 for row in rows)


def test_the_same_parameters_draw_the_same_files(tmp_path):
    rng = np.random.default_rng(0)
    pairs = {"query, on topic": rng.normal(0.3, 0.1, 50), "query, off topic": rng.normal(0.05, 0.1, 50)}
    once = draw_all(parameters=UserParameters(), similarities=pairs, folder=tmp_path / "a")
    again = draw_all(parameters=UserParameters(), similarities=pairs, folder=tmp_path / "b")
    other = draw_all(parameters=UserParameters(flood_at=2.0), similarities=pairs, folder=tmp_path / "c")
    assert [path.name for path in once] == [
        f"clicks-{name}.png" for name in ("relevance", "nativeness", "competition", "flooding")
    ]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    assert once[3].read_bytes() != other[3].read_bytes()


@pytest.mark.slow
def test_the_command_prints_what_it_measured(tmp_path, capsys):
    call_command("plot_click_model", out=tmp_path, answers=200, json=True)
    found = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(found["pictures"])
    levels = {row["situation"]: row for row in found["levels"]}
    on, off = levels["on topic, in the body"], levels["off topic, in the body"]
    # The levels that docs/simulation.md promises, and the sign of the reward that makes training possible.
    assert 0.35 < on["ctr"] < 0.6
    assert off["ctr"] < 0.06
    assert off["reward_at_any_bid"] < 0 < 10 < on["reward_at_good_bid"]
    assert levels["on topic, with three off topic"]["ctr"] < 0.5 * on["ctr"]
    assert found["agreement"]["answers"] == 200


def test_the_command_refuses_nonsense(tmp_path):
    with pytest.raises(CommandError, match="--answers is between"):
        call_command("plot_click_model", out=tmp_path, answers=0)
