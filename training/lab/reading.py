"""Questions about the candidate list: which ad has the highest bid, fits a topic, is the best of both, has an id?

They teach and probe what training can only bring out of a model that can tell ads apart. Knows ads, not tokens.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from training.lab.catalogue import LabAd
from training.lab.topics import load_topics

HIGHEST, TOPIC, BEST, BY_ID = KINDS = ("highest bid", "on topic", "best bid on topic", "by id")
FORMS = {
    HIGHEST: (
        "Which candidate ad has the highest bid?",
        "Which ad bids most of all?",
        "Name the candidate ad with the highest bid.",
    ),
    TOPIC: (
        "Which candidate ad is about {t}?",
        "Which ad fits {t}?",
        "Name a candidate ad about {t}.",
    ),
    BEST: (
        "Which candidate ad about {t} has the highest bid?",
        "Which ad that fits {t} bids most?",
        "Name the candidate ad about {t} with the highest bid.",
    ),
    BY_ID: ("Which candidate ad has the ID {i}?", "Name the candidate ad {i}."),
}


@dataclass(frozen=True)
class ReadingQuestion:
    """A question about the list, the ads that answer it, and the words and category that it asks about, if any."""

    kind: str
    text: str
    right: tuple[LabAd, ...]
    about: str = ""
    category: str | None = None


def reading_question(rng: random.Random, *, ads: Sequence[LabAd], kind: str) -> ReadingQuestion | None:
    """A question of the kind, or None where the list has no clear answer: a tie, or no two ads of one category."""
    form = rng.choice(FORMS[kind])
    if kind == BY_ID:
        ad = rng.choice(ads)
        return ReadingQuestion(kind, form.format(i=ad.candidate.ad_id), (ad,))
    if kind == HIGHEST:
        right = highest(ads)
        return ReadingQuestion(kind, form, right) if len(right) == 1 else None
    of: dict[str, list[LabAd]] = defaultdict(list)
    for ad in ads:
        if ad.category is not None:
            of[ad.category].append(ad)
    asked = [slug for slug, group in of.items() if kind == TOPIC or len(group) > 1]
    if not asked:
        return None
    slug = rng.choice(asked)
    right = tuple(of[slug]) if kind == TOPIC else highest(of[slug])
    if kind == BEST and len(right) > 1:
        return None
    about = topic_words(rng, slug)
    return ReadingQuestion(kind, form.format(t=about), right, about=about, category=slug)


def highest(ads: Sequence[LabAd]) -> tuple[LabAd, ...]:
    """All ads with the highest bid."""
    most = max(ad.candidate.bid_micros for ad in ads)
    return tuple(ad for ad in ads if ad.candidate.bid_micros == most)


def topic_words(rng: random.Random, slug: str) -> str:
    """Words that tell the category: its name, a keyword, a related word or a topic."""
    entry = load_topics()[slug]
    thread = rng.choice(entry.threads[:2])  # the last topic of the last thread is held out
    return rng.choice(
        (
            entry.phrase,
            slug.replace("-", " "),
            rng.choice(entry.keywords),
            rng.choice(entry.related),
            rng.choice(thread.topics),
        )
    )
