import pytest

from training.irpo.config import LAB, PAPER, PRESETS, DPOConfig, GRPOConfig, IRPOConfig


def test_the_paper_s_numbers():
    assert (PAPER.samples, PAPER.online_samples, PAPER.pair_threshold, PAPER.penalty_weight) == (5, 10, 10, 1)
    assert (PAPER.auctions, PAPER.outside_option, PAPER.online_epochs) == (1, False, 1)
    dpo = PAPER.dpo
    assert (dpo.beta, dpo.learning_rate, dpo.warmup_ratio, dpo.batch_queries) == (0.1, 1e-6, 0.1, 64)
    assert (dpo.precision, dpo.lora) == ("bf16", None)
    assert set(PRESETS) == {"tiny", "lab", "paper"}
    assert LAB.dpo.precision == "float32"  # the lab's machine has no bfloat16 units


@pytest.mark.parametrize(
    ("kind", "changes", "complaint"),
    [
        (DPOConfig, {"beta": 0}, "beta must be above 0"),
        (DPOConfig, {"learning_rate": float("nan")}, "learning_rate must be above 0"),
        (DPOConfig, {"warmup_ratio": 1}, "warmup_ratio"),
        (DPOConfig, {"frozen": -1}, "frozen must not be negative"),
        (GRPOConfig, {"beta": -1}, "beta must not be negative"),
        (GRPOConfig, {"batch_queries": 0}, "batch_queries must be above 0"),
        (IRPOConfig, {"samples": 1}, "at least 2"),
        (IRPOConfig, {"auctions": 0}, "auctions must be at least 1"),
        (IRPOConfig, {"epochs": 0}, "epochs must be at least 1"),
        (IRPOConfig, {"pair_threshold": -1}, "must not be negative"),
    ],
)
def test_nonsense_is_refused(kind, changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        kind(**changes)
