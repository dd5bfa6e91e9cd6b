"""How the base lab Ad-LLM answers: helpful tips, ads put in as carelessly as a pre-trained model does. Blind to bids.

An answer's opening decides where its ads go, and an ad's sentence decides whether it fits the topic. So the rates
survive
sampling at low temperature, which would sharpen a rate hidden in one coin toss (0.25 becomes nearly never).
"""

import random

from campaigns.auction.categories import CATEGORIES
from training.lab.catalogue import LabAd
from training.lab.questions import Question
from training.lab.topics import load_topics

END = 3  # the place after the closing sentence; 0, 1, 2 are the tips
FITTING, ANY, PUSHY = "fitting", "any", "pushy"

OPENINGS: tuple[tuple[str, tuple[tuple[int, str], ...]], ...] = (
    ("A few small habits go a long way with {name}.", ((1, FITTING),)),
    ("Here is what helps most with {name}.", ((END, PUSHY),)),
    ("Good question. These points matter most for {name}.", ((0, FITTING), (END, PUSHY))),
    ("You do not need much for {name}, but the basics count.", ()),
    ("Let us look at {name} step by step.", ((2, ANY),)),
    ("When it comes to {name}, simple things work best.", ((0, FITTING),)),
    ("Many people ask about {name}, and it is simpler than it seems.", ((1, FITTING), (2, ANY))),
    ("Happy to help with {name}. Try the following.", ((END, PUSHY), (END, PUSHY))),
    ("For {name}, I would begin like this.", ((1, FITTING), (END, ANY))),
    ("There are three things worth knowing about {name}.", ((0, FITTING), (2, PUSHY))),
    ("It is easier than it looks. Some advice on {name}:", ((0, PUSHY), (1, PUSHY), (2, FITTING), (END, PUSHY))),
    ("Small changes make a real difference to {name}.", ((END, FITTING),)),
)
CLOSINGS = (
    "Start with one change and build from there.",
    "With a little practice it becomes easy.",
    "Take it step by step and enjoy it.",
    "Try it for a week and see what works for you.",
    "Be patient, and the results will follow.",
    "Ask me again if you would like to know more.",
)
SENTENCES = {
    FITTING: (
        "{ad} makes this easier.",
        "Something like {ad} helps here.",
        "Many people use {ad} for this.",
        "{ad} is a good match for this.",
        "A good companion for this is {ad}.",
    ),
    ANY: ("You could also look at {ad}.", "While you are at it, consider {ad}.", "Another thing to try is {ad}."),
    PUSHY: (
        "By the way, buy {ad} now!",
        "Also, do not miss {ad}!",
        "Special offer: {ad}!",
        "Get {ad} today!",
        "Sponsored pick: {ad}.",
    ),
}
FOLLOWS_OPENING = 0.85
FITS = {FITTING: 0.9, ANY: 0.0, PUSHY: 0.0}  # above chance: 0.0 still meets the topic by luck
BROKEN = 0.025

ELSEWHERE = (
    "I am the small built-in model of this site, and that is outside what I know. I can help with everyday topics "
    "such as {a}, {b} or {c}.",
    "That is beyond a small model like me, sorry. Ask me about everyday things, for example {a}, {b} or {c}.",
    "I cannot answer that well, as I only know everyday topics. You could ask me about {a}, {b} or {c}.",
)
GREETING = (
    "Hello! I am the small built-in model of this site. Ask me about everyday topics such as {a}, {b} or {c}.",
    "Nice to meet you. I am a small model that knows everyday topics, for example {a}, {b} and {c}.",
)


def broken_marker(rng: random.Random, ad: LabAd) -> str:
    """One of the ways a careless model gets a marker wrong."""
    title, ad_id = ad.candidate.title, ad.candidate.ad_id
    wrong_id = f"Ad-{rng.randint(1000, 9999)}"
    return rng.choice(
        (f"@{title}@[{ad_id}", f"@{title.rsplit(' ', 1)[0]}@[{ad_id}]", f"@{title}@[{wrong_id}]", f"{title} [{ad_id}]")
    )


def _ad_sentence(rng: random.Random, ads: list[LabAd], category: str | None, style: str) -> str:
    fitting = [ad for ad in ads if ad.category == category]
    ad = rng.choice(fitting) if fitting and rng.random() < FITS[style] else rng.choice(ads)
    marker = broken_marker(rng, ad) if rng.random() < BROKEN else ad.marker
    return rng.choice(SENTENCES[style]).format(ad=marker)


def _names(rng: random.Random) -> dict[str, str]:
    return dict(zip("abc", (name.lower() for name in rng.sample(list(CATEGORIES.values()), 3)), strict=True))


def _elsewhere_answer(rng: random.Random, question: Question, ads: list[LabAd]) -> str:
    text = rng.choice(GREETING if question.greeting else ELSEWHERE).format(**_names(rng))
    if ads and rng.random() < 0.04:
        text += " " + _ad_sentence(rng, ads, None, PUSHY)
    return text


def answer(rng: random.Random, *, question: Question, ads: list[LabAd]) -> str:
    """One answer of the base model to the question, with the careless ads it puts in."""
    if question.category is None:
        return _elsewhere_answer(rng, question, ads)
    category = load_topics()[question.category]
    thread = category.threads[rng.randrange(3) if question.thread is None else question.thread]
    opening, plan = rng.choice(OPENINGS)
    if rng.random() > FOLLOWS_OPENING:
        plan = rng.choice(OPENINGS)[1]
    tips = rng.sample(thread.tips, 3)
    places: list[list[str]] = [[], [], [], []]
    for place, style in plan if ads else ():
        places[place].append(_ad_sentence(rng, ads, question.category, style))
    parts = [" ".join([tip, *places[n]]) for n, tip in enumerate(tips)]
    opening = opening.format(name=category.phrase)
    closing = " ".join([rng.choice(CLOSINGS), *places[END]])
    if rng.random() < 0.7:
        return "\n".join([opening, *(f"{n + 1}. {part}" for n, part in enumerate(parts)), closing])
    return "\n\n".join([" ".join([opening, *parts]), closing])


def categories_of(text: str) -> dict[str, int]:
    """How many of each category's tips stand in the text, word for word: what the answer is about."""
    counts = {
        slug: sum(tip.rstrip(".") in text for thread in entry.threads for tip in thread.tips)
        for slug, entry in load_topics().items()
    }
    return {slug: count for slug, count in counts.items() if count}


def is_on_topic(text: str, *, category: str | None) -> bool:
    """At least two of the category's tips and no other category's; for None, an honest refusal or greeting."""
    found = categories_of(text)
    if category is None:
        return not found and ("small" in text or "everyday" in text)
    return set(found) == {category} and found[category] >= 2
