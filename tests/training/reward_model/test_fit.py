from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.reward_model.shown import ADS, answer, chance, encoder, samples
from training.dataset.records import Ad, AdFeedback, Feedback, Response
from training.reward_model.fit import BiasedPCTR, FitError, FitSettings, fit, part_of

SETTINGS = FitSettings(seed=3, epochs=12)
KINDS = ("pctr", "context")


def fitted(rows, *, kind="context", settings=SETTINGS, **options):
    return fit(rows, kind=kind, ads=ADS, encoder=encoder(), settings=settings, **options)


@pytest.fixture(scope="module")
def learned():
    return fitted(samples(6000))


def predicted(model, *, inside, pushy, ads=ADS):
    """The pCTR of an ad in such an answer."""
    one = samples(1, ads=ads)[0].exposure
    ad = next(iter(ads.values()))
    text = answer(ad, inside=inside, pushy=pushy)
    (found,) = model.predict([replace(one, response=Response("q0", 0, text, 9))], ads=ads)
    return found[ad.id]


def test_place_and_wording_are_learned_from_clicks(learned):
    for inside in (True, False):
        for pushy in (True, False):
            found = predicted(learned.model, inside=inside, pushy=pushy)
            assert found == pytest.approx(chance(inside=inside, pushy=pushy), abs=0.06)


def test_what_was_learned_holds_for_a_catalogue_never_seen(learned):
    others = {"Ad-7": Ad("Ad-7", "Zenith Carving Skis", "skiing"), "Ad-8": Ad("Ad-8", "Zenith Tyres", "car-care")}
    native = predicted(learned.model, inside=True, pushy=False, ads=others)
    assert native > 0.3 + predicted(learned.model, inside=False, pushy=True, ads=others)


def test_the_opposite_taste_is_learned_as_well():
    def shouting(*, inside, pushy):
        return 0.1 + 0.4 * (not inside) + 0.3 * pushy

    model = fitted(samples(6000, ctr=shouting)).model
    assert predicted(model, inside=False, pushy=True) > 0.5 + predicted(model, inside=True, pushy=False)


def test_the_report_tells_what_was_learned(learned):
    report = learned.report
    assert report.log_loss < 0.95 * report.base_log_loss
    assert report.true_auc - 0.05 < report.auc < 0.9
    assert report.calibration.holds
    assert report.rows == {"fit": 5010, "stop": 480, "check": 510}
    assert sum(report.profiles.values()) == 200


def test_no_profile_is_in_two_parts_whatever_else_is_asked():
    parts = [part_of(f"u{n}", split="train", settings=SETTINGS) for n in range(5000)]
    assert [parts.count(part) / 5000 for part in ("fit", "stop", "check")] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert {part_of(f"u{n}", split="test", settings=SETTINGS) for n in range(50)} == {"check"}


@pytest.mark.parametrize("kind", KINDS)
def test_profiles_kept_to_check_teach_nothing(kind):
    rows = samples(600)
    checked = [part_of(row.exposure.profile.id, split="train", settings=SETTINGS) == "check" for row in rows]
    flipped = [
        with_click(row, not row.feedback.ads[0].clicked) if check else row
        for row, check in zip(rows, checked, strict=True)
    ]
    assert 0 < sum(checked) < len(rows)
    one, other = (fitted(data, kind=kind, allow_bias=True).model for data in (rows, flipped))
    assert same_weights(one, other)


def with_click(row, clicked):
    return replace(row, feedback=replace(row.feedback, ads=(replace(row.feedback.ads[0], clicked=clicked),)))


def same_weights(one, other):
    states = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_samples_and_seed_give_the_same_bits(kind):
    rows = samples(600)
    one, same = (fitted(rows, kind=kind, allow_bias=True) for _ in range(2))
    assert same_weights(one.model, same.model)
    assert one.report == same.report
    other = fitted(rows, kind=kind, settings=replace(SETTINGS, seed=4), allow_bias=True)
    assert not same_weights(one.model, other.model)


def test_the_best_epoch_is_kept_and_the_fit_stops_after_it():
    report = fitted(samples(1500), settings=replace(SETTINGS, epochs=60, learning_rate=0.02), allow_bias=True).report
    reached = [row["stop"] for row in report.history]
    assert report.best_epoch == 1 + int(np.argmin(reached))
    assert report.epochs == min(60, report.best_epoch + SETTINGS.patience)


def test_an_update_that_begins_with_a_good_model_is_given_longer_to_beat_it():
    first = fitted(samples(1500))
    longer = replace(SETTINGS, epochs=60, learning_rate=0.02)
    report = fitted(samples(1500), start=first.model, settings=longer, allow_bias=True).report
    assert report.epochs == report.best_epoch + SETTINGS.warm_patience < 60


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_begins_where_the_earlier_model_stood(kind):
    rows, short = samples(1500), replace(SETTINGS, epochs=1)
    first = fitted(rows, kind=kind, settings=short, allow_bias=True)
    still = fitted(rows, kind=kind, start=first.model, settings=replace(SETTINGS, epochs=0), allow_bias=True)
    assert same_weights(still.model, first.model)
    assert still.report.warm
    fresh = samples(1500, seed=1, users=260)
    more = fitted(fresh, kind=kind, start=first.model, settings=short, allow_bias=True)
    anew = fitted(fresh, kind=kind, settings=short, allow_bias=True)
    assert more.report.log_loss < anew.report.log_loss
    assert not same_weights(first.model, more.model)  # and the earlier one is left as it was
    assert same_weights(first.model, fitted(rows, kind=kind, settings=short, allow_bias=True).model)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_pctr_of_what_was_learned_from_is_its_ctr(kind):
    rows = samples(1500)
    fit_and_stop = [r for r in rows if part_of(r.exposure.profile.id, split="train", settings=SETTINGS) != "check"]
    model = fitted(rows, kind=kind, allow_bias=True).model
    told = model.predict([row.exposure for row in fit_and_stop], ads=ADS)
    mean = np.mean([chance for one in told for chance in one.values()])
    assert mean == pytest.approx(np.mean([row.feedback.ads[0].clicked for row in fit_and_stop]), abs=1e-4)


def test_an_update_never_leaves_a_worse_model():
    first = fitted(samples(3000))
    broken = replace(SETTINGS, learning_rate=10.0, epochs=3)
    assert same_weights(fitted(samples(3000), start=first.model, settings=broken).model, first.model)


def test_a_biased_pctr_stops_the_training_and_tells_why():
    def for_friends(*, inside, pushy):  # those kept to check click more than the others
        return 0.2

    rows = samples(4000, ctr=for_friends)
    kinder = [
        with_click(row, True)
        if part_of(row.exposure.profile.id, split="train", settings=SETTINGS) == "check" and number % 3 == 0
        else row
        for number, row in enumerate(rows)
    ]
    with pytest.raises(BiasedPCTR, match=r"Assumption 4\.1.*all all: pCTR 0\.\d+, CTR 0\.\d+") as refused:
        fitted(kinder)
    assert not refused.value.report.calibration.holds
    assert fitted(kinder, allow_bias=True).report == refused.value.report


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_users_and_ads_teach_the_default(kind):
    model = fitted(samples(1500), kind=kind, settings=replace(SETTINGS, epochs=2), allow_bias=True).model
    untrained = fitted(samples(1500), kind=kind, settings=replace(SETTINGS, epochs=0), allow_bias=True).model
    for table in ("users", "ads"):
        one, other = (getattr(each.network, table).weight[0] for each in (model, untrained))
        assert torch.equal(one, other) is (kind == "context")  # which has no such embeddings


def test_samples_that_cannot_be_learned_from_are_refused():
    rows = samples(300)
    two = replace(rows[0].exposure.response, text="Nothing to see.")
    with pytest.raises(FitError, match="answer 0 to q0: feedback on 1 of 0 ads"):
        fitted([replace(rows[0], exposure=replace(rows[0].exposure, response=two)), *rows[1:]])
    other = Feedback("q0", 0, (AdFeedback("Ad-1", 0, True),))
    with pytest.raises(FitError, match="does not speak of it"):
        fitted([replace(rows[0], feedback=other), *rows[1:]])
    for few in ([], rows[:1]):
        with pytest.raises(FitError, match="more answers are needed"):
            fitted(few)
    paper = fitted(rows, kind="pctr", allow_bias=True).model
    with pytest.raises(FitError, match="choose one of pctr, context"):
        fitted(rows, kind="oracle")
    with pytest.raises(FitError, match="the earlier model is pctr"):
        fitted(rows, start=paper)
