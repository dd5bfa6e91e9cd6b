import numpy as np
import pytest
import torch

from tests.training.reward_model.shown import ADS, encoder, samples
from training.reward_model.inputs import CONTEXT, KINDS, PAPER, gather
from training.reward_model.pctr import PCTR, UNKNOWN, ClickNetwork


def pctr(kind=PAPER, *, users=("u0", "u1"), ads=tuple(ADS)[:3], seed=1):
    width = 16 if kind.texts else 0
    return PCTR(kind, encoder=encoder(), text_width=width, users=users, ads=ads, seed=seed)


def exposures(count=8, **options):
    return [sample.exposure for sample in samples(count, **options)]


def test_the_paper_s_widths_stand():
    shapes = [tuple(layer.weight.shape) for layer in pctr().network.layers if isinstance(layer, torch.nn.Linear)]
    # 16 + 16 of query and answer, 64 of the user, 32 of the ad
    assert shapes == [(128, 128), (64, 128), (32, 64), (1, 32)]


def test_the_pctr_is_the_sigmoid_of_the_mlp_over_the_joined_vectors():
    model = pctr()
    one = exposures(1)
    inputs = gather(one, ads=ADS, encoder=model.encoder, kind=PAPER)
    weights = {name: tensor.double().numpy() for name, tensor in model.network.state_dict().items()}
    (query,), (answer,) = (model.encoder.encode([text]) for text in (one[0].query.text, one[0].response.text))
    ad = 1 + tuple(ADS).index(inputs.ad_ids[0])
    seen = np.concatenate(
        [query, answer, weights["users.weight"][1], weights["ads.weight"][ad if ad <= 3 else UNKNOWN]]
    )
    for layer in (0, 2, 4):
        seen = np.maximum(0, weights[f"layers.{layer}.weight"] @ seen + weights[f"layers.{layer}.bias"])
    (logit,) = weights["layers.6.weight"] @ seen + weights["layers.6.bias"]
    (found,) = model.predict(one, ads=ADS)
    assert found == {inputs.ad_ids[0]: pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-6)}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_prediction_does_not_depend_on_what_else_is_asked(kind):
    model = pctr(kind)
    several = exposures(300)
    whole = model.predict(several, ads=ADS)
    assert model.predict(several[::-1], ads=ADS) == whole[::-1]
    assert [model.predict([one], ads=ADS)[0] for one in several[250:]] == whole[250:]


def test_unknown_users_and_ads_are_predicted_with_the_default():
    model = pctr(users=("u0",), ads=())
    strangers = [one for one in exposures(20, users=20) if one.profile.id != "u0"]
    inputs = gather(strangers, ads=ADS, encoder=model.encoder, kind=PAPER)
    users, ads = model.numbers(inputs)
    assert set(users) == set(ads) == {UNKNOWN}
    with torch.no_grad():
        model.network.users.weight[1] += 10  # of u0, whom nobody here is
        before = model.predict(strangers, ads=ADS)
        model.network.users.weight[UNKNOWN] += 10
    assert model.predict(strangers, ads=ADS) != before


def test_newcomers_begin_at_the_default_and_nobody_else_moves():
    model = pctr(users=("u0",), ads=tuple(ADS)[:1])
    grown = model.grown(users=("u5", "u0"), ads=ADS)
    assert grown.users == ("u0", "u5")
    assert grown.ads == tuple(ADS)
    assert grown.predict(exposures(), ads=ADS) == model.predict(exposures(), ads=ADS)
    with torch.no_grad():
        grown.network.users.weight[2] += 10
    assert model.grown(users=(), ads=()).predict(exposures(), ads=ADS) == model.predict(exposures(), ads=ADS)


def test_an_answer_without_ads_gets_no_prediction():
    model = pctr(CONTEXT)
    assert model.predict([], ads=ADS) == []
    plain = samples(1, ads=ADS)[0].exposure
    other = type(plain)(plain.profile, plain.query, plain.auction, type(plain.response)("q0", 1, "Heat water.", 2))
    assert model.predict([other], ads=ADS) == [{}]


def test_a_seed_gives_the_same_network():
    def weights(seed):
        torch.rand(seed + 1)  # whatever was drawn before
        return pctr(seed=seed).network.state_dict()

    one, same, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_context_is_standardised():
    network = ClickNetwork(CONTEXT, text_width=0, num_users=0, num_ads=0)
    empty, numbers = torch.zeros(1, 0), torch.zeros(1, dtype=torch.int64)
    context = torch.randn(1, len(network.center))
    with torch.no_grad():
        plain = network(empty, empty, numbers, numbers, context)
        network.center.fill_(5)
        network.scale.fill_(2)
        assert network(empty, empty, numbers, numbers, context * 2 + 5) == pytest.approx(plain, abs=1e-5)
