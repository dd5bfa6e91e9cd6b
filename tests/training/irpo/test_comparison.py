from dataclasses import asdict

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from training.irpo import comparison  # noqa: E402


@pytest.mark.parametrize(
    ("precision", "loss", "gradient"),
    [
        ("float32", 1e-5, 1e-4),  # the same numbers
        ("bf16", 0.1, 0.3),  # the same but for rounding
    ],
)
def test_our_step_is_trls(tiny_policy, groups, monkeypatch, precision, loss, gradient):
    monkeypatch.setattr(comparison, "_memory", lambda *asked: (2.0, 1.0))
    report = comparison.compare(tiny_policy, groups, precision=precision, seconds=0.1, rounds=1, say=lambda line: None)
    assert report.precision == precision
    assert report.loss != pytest.approx(0.6931, abs=1e-4)  # policy and reference differ
    assert report.loss_difference <= loss
    assert report.gradient_difference <= gradient
    assert None not in asdict(report).values()


def test_bfloat16_is_used_where_it_is_asked_for(tiny_policy, groups):
    (whole, _), (half, _) = (
        comparison._Ours(tiny_policy, groups, precision).step() for precision in ("float32", "bf16")
    )
    assert whole != half
