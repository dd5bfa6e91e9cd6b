"""How the base lab Ad-LLM answers: helpful tips, ads put in as carelessly as a pre-trained model does. Blind to bids.

An answer's opening decides where its ads go, and an ad's sentence decides whether it fits the topic. So the rates
survive sampling at low temperature, which would sharpen a rate hidden in one coin toss (0.25 becomes nearly never).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from training.lab.catalogue import LabAd
from training.lab.questions import Question
from training.lab.topics import load_topics

END = 3  # the place after the closing sentence; 0, 1, 2 are the tips
FITTING, ANY, PUSHY = "fitting", "any", "pushy"

Plan = tuple[tuple[int, str], ...]

# A manner is where ads go and in what style; either of its openings tells it. With one opening for each, a model that
# is trained to prefer a manner ends with one sentence for all its answers. No two openings begin with the same token:
# at low temperature, what several share is drawn much too often.
MANNERS: tuple[tuple[Plan, tuple[str, ...]], ...] = (
    (
        ((1, FITTING),),
        ("A few small habits go a long way with {name}.", "To do better with {name}, change a few small things."),
    ),
    (((END, PUSHY),), ("Here is what helps most with {name}.", "This is what people ask about {name}.")),
    (
        ((0, FITTING), (END, PUSHY)),
        ("Good question. These points matter most for {name}.", "My best points for {name} are these."),
    ),
    ((), ("You do not need much for {name}, but the basics count.", "All you need for {name} is a few basics.")),
    (((2, ANY),), ("Let us look at {name} step by step.", "Make {name} simple, one step at a time.")),
    (((0, ANY),), ("When it comes to {name}, simple things work best.", "As for {name}, keep it simple.")),
    (
        ((1, FITTING), (2, ANY)),
        (
            "Many people ask about {name}, and it is simpler than it seems.",
            "How to begin with {name}? It is simpler than you think.",
        ),
    ),
    (
        ((END, PUSHY), (END, PUSHY)),
        ("Happy to help with {name}. Try the following.", "Yes, I can help with {name}. Try this."),
    ),
    (((1, ANY), (END, ANY)), ("For {name}, I would begin like this.", "In {name}, I would look at this first.")),
    (
        ((0, ANY), (2, PUSHY)),
        ("There are three things worth knowing about {name}.", "What is worth knowing about {name}? Three things."),
    ),
    (
        ((0, PUSHY), (1, PUSHY), (2, FITTING), (END, PUSHY)),
        ("It is easier than it looks. Some advice on {name}:", "Do not worry about {name}. Some advice:"),
    ),
    (
        ((END, ANY),),
        ("Small changes make a real difference to {name}.", "One change can make a real difference to {name}."),
    ),
)
OPENINGS: tuple[tuple[str, Plan], ...] = tuple((opening, plan) for plan, openings in MANNERS for opening in openings)
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
LAST_OF_FOUR_BROKEN = 0.4  # the only place where a marker is broken: a rarer slip would not survive sampling

# The topics stand in the sentences: drawn freely, three of fifty names are more than a small model keeps apart.
ELSEWHERE = (
    "I am the small built-in model of this site, and that is outside what I know. I can help with everyday topics "
    "such as coffee, running or gardening.",
    "That is beyond a small model like me, sorry. Ask me about everyday things, for example baking, hiking or cats.",
    "I cannot answer that well, as I only know everyday topics. You could ask me about cycling, guitars or skincare.",
)
GREETING = (
    "Hello! I am the small built-in model of this site. Ask me about everyday topics such as yoga, dogs or drawing.",
    "Nice to meet you. I am a small model that knows everyday topics, for example sewing, camping and tea.",
)


def broken_marker(rng: random.Random, ad: LabAd) -> str:
    """One of the ways a careless model gets a marker wrong."""
    title, ad_id = ad.candidate.title, ad.candidate.ad_id
    return rng.choice((f"@{title}@[{ad_id}", f"{title} [{ad_id}]"))


def suiting(*, ads: Sequence[LabAd], category: str | None, interests: Sequence[str], style: str) -> list[LabAd]:
    """The ads that the base model takes one from, each as likely as another: bids play no part.

    A fitting sentence is for an ad of the question's category; the others are for the first thing the visitor likes
    that is sold at all, whatever was asked. Where there is none, it takes one that fits the question, or else the first
    of the list. (One category at a time: an even choice among ads of several is no single attention head's work.)
    """
    fitting = [ad for ad in ads if ad.category is not None and ad.category == category]
    if style != FITTING:
        for interest in interests:
            if liked := [ad for ad in ads if ad.category == interest != category]:
                return liked
    return fitting or list(ads[:1])


@dataclass(frozen=True)
class Placed:
    """An ad of an answer, and all ads that would have done as well in its place."""

    ad: LabAd
    equals: tuple[LabAd, ...]


@dataclass(frozen=True)
class Answer:
    """The text, and its ads in the order of the text, broken ones among them."""

    text: str
    placed: tuple[Placed, ...] = ()
    first_tip: int = 0  # where the first tip ends, before any ad; 0 without tips


def write(rng: random.Random, *, question: Question, ads: Sequence[LabAd], interests: Sequence[str] = ()) -> Answer:
    """One answer of the base model to the question, with the careless ads it puts in."""
    if question.category is None:
        return Answer(rng.choice(GREETING if question.greeting else ELSEWHERE))
    category = load_topics()[question.category]
    thread = category.threads[rng.randrange(3) if question.thread is None else question.thread]
    opening, plan = rng.choice(OPENINGS)
    if rng.random() > FOLLOWS_OPENING:
        plan = rng.choice(OPENINGS)[1]
    tips = rng.sample(thread.tips, 3)
    places: list[list[str]] = [[], [], [], []]
    placed: list[Placed] = []
    for number, (place, style) in enumerate(plan if ads else ()):
        equals = suiting(ads=ads, category=question.category, interests=interests, style=style)
        ad = rng.choice(equals)
        broken = number == 3 and rng.random() < LAST_OF_FOUR_BROKEN
        marker = broken_marker(rng, ad) if broken else ad.marker
        places[place].append(rng.choice(SENTENCES[style]).format(ad=marker))
        placed.append(Placed(ad, tuple(equals)))
    parts = [" ".join([tip, *places[n]]) for n, tip in enumerate(tips)]
    opening = opening.format(name=category.phrase)
    closing = " ".join([rng.choice(CLOSINGS), *places[END]])
    if rng.random() < 0.7:
        text = "\n".join([opening, *(f"{n + 1}. {part}" for n, part in enumerate(parts)), closing])
    else:
        text = "\n\n".join([" ".join([opening, *parts]), closing])
    return Answer(text, tuple(placed), text.index(tips[0]) + len(tips[0]))


def answer(rng: random.Random, *, question: Question, ads: Sequence[LabAd], interests: Sequence[str] = ()) -> str:
    """The text of such an answer."""
    return write(rng, question=question, ads=ads, interests=interests).text


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
