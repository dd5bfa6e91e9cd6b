import json

import pytest

from tests.training.reward_model.shown import ADS, encoder, samples
from training.dataset.encoder import HashEncoder
from training.reward_model.fit import FitSettings, fit
from training.reward_model.saving import ModelRefused, load, save


@pytest.fixture(scope="module", params=["pctr", "context"])
def model(request):
    settings = FitSettings(epochs=2)
    return fit(samples(300), kind=request.param, ads=ADS, encoder=encoder(), settings=settings, allow_bias=True).model


def test_a_model_comes_back_with_the_same_predictions(model, tmp_path):
    paths = save(model, tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert [path.name for path in paths] == [f"{model.name}.safetensors", f"{model.name}.json"]
    again = load(tmp_path, model.name, encoder=encoder())
    exposures = [sample.exposure for sample in samples(50, seed=1)]
    assert again.predict(exposures, ads=ADS) == model.predict(exposures, ads=ADS)
    assert (again.users, again.ads) == (model.users, model.ads)


def spoil(folder, kind, how):
    weights, manifest = folder / f"{kind}.safetensors", folder / f"{kind}.json"
    if how == "torn weights":
        weights.write_bytes(weights.read_bytes()[:-4])
    elif how == "no weights":
        weights.unlink()
    elif how == "torn manifest":
        manifest.write_text(manifest.read_text()[:50])
    else:
        content = json.loads(manifest.read_text()) | how
        manifest.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("torn weights", "torn or old"),
        ("no weights", "holds no pCTR named"),
        ("torn manifest", "cannot be read"),
        ({"version": 2}, "version 1"),
        ({"users": None}, "lacks a field"),
        ({"kind": "oracle"}, "another kind"),
        ({"features": ["price"]}, "other features"),
        ({"encoder": "other"}, "reads with the encoder other, not with hash-16"),
        ({"text_width": 3, "users": [], "ads": [], "features": None}, "lacks a field"),
    ],
)
def test_what_is_not_that_model_is_refused(model, tmp_path, how, complaint):
    save(model, tmp_path)
    spoil(tmp_path, model.name, how)
    with pytest.raises(ModelRefused, match=complaint):
        load(tmp_path, model.name, encoder=encoder())


def test_weights_that_do_not_fit_their_manifest_are_refused(model, tmp_path):
    if model.name == "context":
        pytest.skip("the context pCTR knows no ids")
    save(model, tmp_path)
    spoil(tmp_path, model.name, {"users": ["u1"]})
    with pytest.raises(ModelRefused, match="does not fit"):
        load(tmp_path, model.name, encoder=encoder())


def test_another_encoder_is_refused(model, tmp_path):
    save(model, tmp_path)
    with pytest.raises(ModelRefused, match="hash-16, not with hash-32"):
        load(tmp_path, model.name, encoder=HashEncoder(dimensions=32))


def test_an_unknown_kind_is_refused(tmp_path):
    with pytest.raises(ModelRefused, match="choose one of pctr, context"):
        load(tmp_path, "oracle", encoder=encoder())
