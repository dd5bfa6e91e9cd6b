"""A run's policy as a folder of its own: half the bytes, the same words, and a card that says what it is."""

import json
import shutil
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from tests.training.irpo.test_loop import parts, run  # noqa: E402
from training.dataset.artifacts import file_sha256  # noqa: E402
from training.irpo import shipping  # noqa: E402
from training.irpo.config import TINY  # noqa: E402
from training.irpo.dpo import load_policy  # noqa: E402
from training.irpo.shipping import NotShipped, ship  # noqa: E402


@pytest.fixture(scope="module")
def finished(tiny_policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run(folder, parts(tiny_policy), config=replace(TINY, epochs=1))
    return folder


def test_the_kept_policy_is_written_in_sixteen_bits_with_its_card(finished, tmp_path, tmp_path_factory):
    out = tmp_path / "shipped"
    out.mkdir()
    (out / "older").write_text("")
    manifest = ship(finished, out=out)
    kept, shipped = load_policy(finished / "epoch-01" / "policy")[0], load_policy(out)[0]
    for (name, weight), found in zip(kept.state_dict().items(), shipped.state_dict().values(), strict=True):
        assert torch.equal(weight.to(torch.bfloat16).float(), found), name
    weights = out / "model.safetensors"
    assert weights.stat().st_size < 0.6 * (finished / "epoch-01" / "policy" / "model.safetensors").stat().st_size
    assert manifest["sha256"] == file_sha256(weights)
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert not (out / "older").exists()

    card = (out / "README.md").read_text()
    assert "1 epochs\nof Algorithm 1 with DPO, clicks of the behavioural user, rewards from `oracle`" in card
    revenue = [json.loads((finished / f"epoch-0{t}" / "metrics.json").read_text())["test"]["revenue"] for t in (0, 1)]
    assert f"| revenue per answer | {revenue[0]:.3f} | {revenue[1]:.3f} |" in card
    assert manifest["sha256"] in card
    for path in out.iterdir():
        assert str(tmp_path_factory.getbasetemp()).encode() not in path.read_bytes(), path.name


def test_what_cannot_ship_leaves_what_is_there(finished, tmp_path, monkeypatch):
    out = tmp_path / "shipped"
    ship(finished, out=out)
    monkeypatch.setattr(shipping, "MAX_WEIGHTS", 1000)
    with pytest.raises(NotShipped, match="more than 1000"):
        ship(finished, out=out)
    monkeypatch.undo()

    stopped = shutil.copytree(finished, tmp_path / "stopped")
    (stopped / "result.json").write_text('{"policy": "elsewhere", "epochs": 0, "stopped": "no pairs"}')
    with pytest.raises(NotShipped, match="keeps the model that it began with"):
        ship(stopped, out=out)
    (stopped / "result.json").unlink()
    with pytest.raises(NotShipped, match="is not finished"):
        ship(stopped, out=out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shipped", "stopped"]
    load_policy(out)
