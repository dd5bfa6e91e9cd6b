"""Questions and visitor profiles for the lab Ad-LLM. Knows what is held out, nothing of ads or answers."""

import random
from dataclasses import dataclass

from training.lab.phrases import (
    ABOUT_KEYWORD,
    ABOUT_TOPIC,
    AFTER,
    ASKS,
    BEFORE,
    DEEDS,
    DO,
    ELSEWHERE,
    FILLERS,
    GREETINGS,
    HELD_OUT_ABOUT,
    ON,
    PEOPLE,
    PLACES,
    STATES,
    VERBS,
    WHATS,
    WHO,
)
from training.lab.topics import Category, load_topics


@dataclass(frozen=True)
class Question:
    """A question, the category it is about (None: none of the 50) and the thread that answers it (None: any).

    `about` are the words that give the category away; empty where that is the whole question.
    """

    text: str
    category: str | None
    thread: int | None
    greeting: bool = False
    about: str = ""


def held_out_topic(category: Category) -> tuple[int, str]:
    """The topic of each category that no training question names: the last one of its last thread."""
    return len(category.threads) - 1, category.threads[-1].topics[-1]


def held_out_question(category: Category) -> tuple[int, str]:
    """The written question of each category that training never sees: the last one of its second thread."""
    return 1, category.threads[1].questions[-1]


def _carrier(rng: random.Random) -> str:
    """A sentence put together from parts, with {t} where the topic goes."""
    on = rng.choice(ON)
    kind = rng.random()
    if kind < 0.25:
        words = rng.sample(FILLERS, rng.randint(1, 7))
        words.insert(rng.randint(0, len(words)), "{t}")
        return " ".join(words) + rng.choice(("", "?", "."))
    if kind < 0.6:
        asks, verb = rng.choice(("", *ASKS)), rng.choice(VERBS)
        return f"{asks} {verb} {rng.choice(WHATS)} {on} {{t}}{rng.choice('.?')}".strip()
    if kind < 0.8:
        return (
            f"{rng.choice(('What do', 'Where do', 'Why do', 'How do'))} {rng.choice(WHO)} {rng.choice(DO)} {on} {{t}}?"
        )
    return f"{rng.choice(STATES)} {on} {{t}}."


def _dress(rng: random.Random, text: str) -> str:
    """People greet, ramble, and drop capitals and question marks."""
    if rng.random() < 0.2:
        text = f"{rng.choice(BEFORE)} {text}"
    if rng.random() < 0.2:
        text = f"{text} {rng.choice(AFTER)}"
    if rng.random() < 0.2:
        text = text.lower()
    if rng.random() < 0.15:
        text = text.rstrip("?.!")
    return text


def _misspell(rng: random.Random, text: str) -> str:
    at = rng.randrange(max(1, len(text) - 1))
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


def training_question(rng: random.Random, *, category: str) -> Question:
    """A question about the category, never one of the held-out strings."""
    entry = load_topics()[category]
    kind = rng.random()
    thread = rng.randrange(len(entry.threads))
    about = ""
    if kind < 0.3:
        spare = held_out_topic(entry)
        about = rng.choice([t for t in entry.threads[thread].topics if (thread, t) != spare])
        form = rng.choice(ABOUT_TOPIC) if rng.random() < 0.5 else _carrier(rng)
        text = form.format(t=about)
    elif kind < 0.5:
        spare = held_out_question(entry)
        text = rng.choice([q for q in entry.threads[thread].questions if (thread, q) != spare])
    elif kind < 0.75:
        about = rng.choice(entry.related + entry.asked + entry.wants)
        text = (rng.choice(ABOUT_TOPIC) if rng.random() < 0.4 else _carrier(rng)).format(t=about)
        thread = None
    else:
        words = rng.sample(entry.keywords, 2)
        if rng.random() < 0.25:
            words[0] = rng.choice(entry.products).lower()
        how = rng.random()
        form = rng.choice(ABOUT_KEYWORD) if how < 0.5 else rng.choice(ABOUT_TOPIC) if how < 0.7 else _carrier(rng)
        about = words[0]
        text = form.format(k=about, l=words[1], t=about)
        thread = None
    text = _dress(rng, text[0].upper() + text[1:])
    return Question(_misspell(rng, text) if rng.random() < 0.04 else text, category, thread, about=about)


def elsewhere_question(rng: random.Random) -> Question:
    """A question about none of the 50 categories, or a greeting."""
    if rng.random() < 0.25:
        return Question(rng.choice(GREETINGS), None, None, greeting=True)
    text = rng.choice(ELSEWHERE).format(
        x=rng.choice(PLACES), y=rng.choice(DEEDS), n=rng.randint(2, 999), m=rng.randint(2, 99)
    )
    return Question(_dress(rng, text), None, None)


def held_out_questions(rng: random.Random, *, count: int) -> list[Question]:
    """Questions whose wording no training question has: held-out topics and keywords in held-out forms.

    Topics that no training question names, written questions, other topics and keywords take turns, so that few
    questions are as hard as many; four times as many questions as categories ask about each in all four ways.
    """
    found: list[Question] = []
    slugs = list(load_topics())
    while len(found) < count:
        slug = slugs[len(found) % len(slugs)]
        entry = load_topics()[slug]
        kind = (len(found) + len(found) // len(slugs)) % 4
        if kind == 0:
            thread, topic = held_out_topic(entry)
            found.append(Question(rng.choice(HELD_OUT_ABOUT).format(t=topic), slug, thread))
        elif kind == 1:
            thread, text = held_out_question(entry)
            found.append(Question(text, slug, thread))
        elif kind == 2:
            thread = rng.randrange(len(entry.threads))
            topic = rng.choice(entry.threads[thread].topics)
            found.append(Question(rng.choice(HELD_OUT_ABOUT).format(t=topic), slug, thread))
        else:
            found.append(Question(rng.choice(HELD_OUT_ABOUT).format(t=rng.choice(entry.keywords)), slug, None))
    return found


@dataclass(frozen=True)
class Visitor:
    """Who asks: the profile as it stands in the prompt, and the categories it names as interests."""

    profile: str
    interests: tuple[str, ...] = ()


def interest_name(slug: str) -> str:
    """How a profile names a category."""
    return slug.replace("-", " ")


def visitor(rng: random.Random, *, first: str | None = None) -> Visitor:
    """A visitor in a few of the shapes people, forms and worlds use; one in eight is unknown. `first`, if given, is the
    interest that is named first.
    """
    person = rng.choice(PEOPLE)
    likes = tuple(rng.sample(list(load_topics()), rng.randint(2, 5)))
    if first:
        likes = (first, *(slug for slug in likes if slug != first))
    named = ", ".join(map(interest_name, likes))
    shapes = (
        ("", ()),
        (f"{person} Likes {named}.", likes),
        (f"{person} Interests: {named}.", likes),
        (f"{person} Interests: {named}.", likes),
        (f"Basic information: {person}\nPersonal interests: {named}", likes),
        (f"{person}\nInterests: {named}", likes),
        (person, ()),
        (f"I like {named}.", likes),
    )
    return Visitor(*rng.choice(shapes))
