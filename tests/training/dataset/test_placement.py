import pytest

from campaigns.auction.candidates import Candidate
from training.dataset.placement import read, without_ads

MUG, POT = Candidate("Ad-1", "Blue Mug No. 5", 0), Candidate("Ad-2", "Tea Pot", 0)
M, P = "@Blue Mug No. 5@[Ad-1]", "@Tea Pot@[Ad-2]"


def placed(text):
    return read(text, [MUG, POT]).ads


def test_an_ad_stands_between_its_neighbours():
    text = f"Tea is simple.\n1. Heat the water. {M} helps here.\n2. Wait three minutes.\nEnjoy it."
    (ad,) = placed(text)
    assert (ad.ad_id, ad.sentence) == ("Ad-1", "Blue Mug No. 5 helps here.")  # a full stop in a title ends nothing
    assert (ad.before, ad.after) == ("Heat the water.", "Wait three minutes.")


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (f"Warm it. {M} helps.", "Warm it.", ""),  # tacked on
        (f"{M} helps. Warm it.", "", "Warm it."),  # before anything is said
        (f"{M}", "", ""),
        (f"Warm it. {M} helps. {P} too. Wait.", "Warm it.", "Wait."),  # other ads are no neighbours
        (f"Warm it. {M} helps. Now buy Tea Pot. Wait.", "Warm it.", "Wait."),  # nor is an ad without its marker
        (f"**Warm it.**\n\n- {M} helps\n- **Wait** a bit", "Warm it.", "Wait a bit"),  # Markdown
    ],
)
def test_neighbours_are_the_nearest_sentences_without_ads(text, before, after):
    ad = placed(text)[0]
    assert (ad.before, ad.after) == (before, after)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (f"{M}", 0),
        (f"{M} helps. Warm it.", 0),
        (f"Warm it. {M} helps.", 1),
        (f"Tea is simple.\n1. Heat the water. {M} helps here.\n2. Wait.\nEnjoy it.", 0.5),
    ],
)
def test_a_place_is_told_in_sentences(text, place):
    assert placed(text)[0].place == place


@pytest.mark.parametrize(
    ("text", "pushy"),
    [
        (f"By the way, buy {M} now!", True),
        (f"Also, do not miss {M}!", True),
        (f"Special offer: {M}!", True),
        (f"Get {M} today!", True),
        (f"Sponsored pick: {M}.", True),
        (f"Click here for {M}.", True),
        (f"{M} at 20 % off", True),
        (f"Something like {M} helps here.", False),
        (f"You could also look at {M}.", False),
        (f"Pour it now. {M} keeps it warm.", False),  # the cue is in another sentence
    ],
)
def test_hard_sell_is_told_from_advice(text, pushy):
    assert placed(text)[0].pushy is pushy


def test_a_title_is_no_hard_sell():
    offer = Candidate("Ad-3", "Special Offer Box", 0)
    assert not read("@Special Offer Box@[Ad-3] helps.", [offer]).ads[0].pushy


@pytest.mark.parametrize(
    ("text", "ads"),
    [
        ("Warm it. @Blue Mug No. 5@[Ad-9] helps.", []),  # no such id
        ("Warm it. @Blue mug@[Ad-1] helps.", []),
        (f"{P} first, {M} next, {M} again.", ["Ad-2", "Ad-1"]),  # each once, as first named
        ("", []),
    ],
)
def test_only_what_is_shown_is_an_ad(text, ads):
    assert [ad.ad_id for ad in placed(text)] == ads


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Heat the water well.", 0),
        (f"Heat the water well. {P} helps here.", 0.5),
        (f"Heat the water well. {P} helps here. {P} helps here.", 8 / 12),  # naming it again is ad talk too
        (f"Heat the water well. I chose the highest bid. {P} helps here.", 9 / 13),  # so is speaking of the task
        (P, 1),
    ],
)
def test_ad_talk_is_counted_in_words(text, share):
    assert read(text, [MUG, POT]).ad_talk == pytest.approx(share)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (
            f"Tea is simple.\n1. Heat the water. {M} helps.\n2. Wait. Get {P} today!\n\nEnjoy it. Also, {M}!",
            "Tea is simple.\n1. Heat the water.\n2. Wait.\n\nEnjoy it.",
        ),
        (f"Warm it.\n\n- {M} helps here.\n\n- Wait (a bit).", "Warm it.\n\n- Wait (a bit)."),  # nor its bullet
        (f"1. Warm it. 2. {M} helps. 3. Wait.", "1. Warm it. 3. Wait."),
        (f"{M} helps", ""),
        ("Warm it.  Wait\n  a bit", "Warm it.  Wait\n  a bit"),
        ("Warm it. @Mug@[Ad-9] helps.", "Warm it. Mug helps."),  # no ad, and shown as text
    ],
)
def test_an_answer_can_be_read_without_the_sentences_that_show_ads(text, left):
    assert without_ads(text, [MUG, POT]) == left


def test_ten_thousand_signs_are_read_at_once():
    signs = "." + " " * 20_000 + M * 2000 + "\n" * 20_000 + "@" * 20_000
    read(signs, [MUG, POT])
    without_ads(signs, [MUG, POT])
