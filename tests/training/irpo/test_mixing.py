"""Real answers join the simulated ones by share: drawn by seed, in order, all where there are too few."""

from types import SimpleNamespace

import pytest

from training.dataset.jsonl import DataError
from training.irpo.mixing import RealFeedback, real_feedback

ROWS = tuple(SimpleNamespace(number=n) for n in range(100))


def numbers(share: float, simulated: int, seed: str = "0") -> list[int]:
    return [row.number for row in RealFeedback("", share, ROWS, {}).drawn(simulated, seed=seed)]


@pytest.mark.parametrize(
    ("share", "simulated", "real"),
    [
        (0.2, 40, 10),  # 10 of 50
        (0.5, 30, 30),
        (0.9, 40, 100),  # there are no more
        (0.001, 40, 0),
    ],
)
def test_the_share_is_of_all_answers(share, simulated, real):
    assert len(numbers(share, simulated)) == real


def test_the_draw_follows_from_the_seed_and_keeps_the_files_order():
    drawn = numbers(0.5, 20)
    assert drawn == numbers(0.5, 20) == sorted(set(drawn))
    assert drawn != numbers(0.5, 20, seed="1")


@pytest.mark.parametrize("share", [0.0, 1.0, -1.0, float("nan")])
def test_a_share_that_is_none_is_refused(tmp_path, share):
    with pytest.raises(DataError, match="between 0 and 1"):
        real_feedback(tmp_path / "feedback.jsonl", share=share, known={})
