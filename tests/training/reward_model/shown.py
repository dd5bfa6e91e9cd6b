"""Answers to many users' questions, and a clicking user whose taste is two numbers: how far from the end, how pushy."""

import random

from training.dataset.encoder import CachedEncoder, HashEncoder
from training.dataset.records import (
    Ad,
    AdFeedback,
    Auction,
    Exposure,
    Feedback,
    OnlineSample,
    Profile,
    Query,
    Response,
)

ADS = {f"Ad-{1000 + n}": Ad(f"Ad-{1000 + n}", f"Acme Mug {n}", "tea") for n in range(6)}
NATIVE = "Something like {} helps here."
PUSHY = "Special offer: {}!"


def encoder():
    return CachedEncoder(HashEncoder(dimensions=16))


def marker(ad):
    return f"@{ad.title}@[{ad.id}]"


def answer(ad, *, inside=True, pushy=False):
    told = (PUSHY if pushy else NATIVE).format(marker(ad))
    body = ["Heat the water to eighty degrees.", "Steep the leaves for two minutes."]
    return " ".join([body[0], told, body[1]] if inside else [*body, told])


def chance(*, inside, pushy):
    """The true chance of a click."""
    return 0.1 + 0.4 * inside + 0.3 * (not pushy)


def samples(count, *, seed=0, users=200, ads=ADS, split="train", ctr=chance):
    """`count` answers with one ad each, to the questions of `users` users."""
    rng = random.Random(f"shown/{seed}")
    found = []
    for number in range(count):
        user = number % users
        profile = Profile(f"u{user}", "A nurse.", ("tea",), split)
        query = Query(f"q{number}", profile.id, f"How do I brew tea number {user}?", split)
        auction = Auction(query.id, tuple(ads), tuple(rng.randint(1, 100) for _ in ads))
        ad, inside, pushy = rng.choice(list(ads.values())), rng.random() < 0.5, rng.random() < 0.5
        text = answer(ad, inside=inside, pushy=pushy)
        known = ctr(inside=inside, pushy=pushy)
        feedback = Feedback(query.id, 0, (AdFeedback(ad.id, 0, rng.random() < known, ctr=known),))
        found.append(OnlineSample(Exposure(profile, query, auction, Response(query.id, 0, text, 9)), feedback))
    return found
