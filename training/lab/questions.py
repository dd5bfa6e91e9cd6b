"""Questions and visitor profiles for the lab Ad-LLM. Knows what is held out, nothing of ads or answers."""

import random
from dataclasses import dataclass

from training.lab.catalogue import invented_word
from training.lab.elsewhere import load_elsewhere
from training.lab.phrases import (
    ABOUT_KEYWORD,
    ABOUT_PRODUCT,
    ABOUT_TOPIC,
    AFTER,
    ASKS,
    BEFORE,
    DO,
    FILLERS,
    HELD_OUT_ABOUT,
    ON,
    PEOPLE,
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


GREETS = 0.08  # of the questions about none of the categories
ASKED_ALIKE, UNKNOWN = "asked alike", "unknown words"
ELSEWHERE = {  # shares of the others, by the section of elsewhere.md they are formed by
    "about a subject": 0.18,
    ASKED_ALIKE: 0.24,
    UNKNOWN: 0.1,
    "about a figure": 0.06,
    "about a place": 0.16,
    "about numbers": 0.1,
    "about a deed": 0.04,
    "whole questions": 0.12,
}

# Nouns that take no article.
_MASS_WORDS = (
    "coffee tea powder granola flour sunscreen lotion gel oil shampoo conditioner toothpaste floss mouthwash incense "
    "glue soil food vinegar wax fabric yarn cream toner serum cleanser balm tape line art"
)
_MASS = frozenset(_MASS_WORDS.split())
_NAMES = {"Earl", "Grey", "French", "Japanese", "Bluetooth", "Olympic"}


def bare(product: str) -> str:
    """A product noun of topics.md inside a sentence: "GPS Running Watch" -> "GPS running watch"."""
    return " ".join(
        word if word in _NAMES or sum(char.isupper() for char in word) > 1 else word.lower() for word in product.split()
    )


def with_article(product: str) -> str:
    """The same with its article: "an espresso machine", "running socks", "potting soil"."""
    noun = bare(product)
    head = noun.split(" for ")[0].split(" with ")[0].split()[-1]
    if head in _MASS or (head.endswith("s") and not head.endswith(("ss", "ens"))):
        return noun
    spoken_vowel = noun[0].lower() in "aeiou" and not noun.startswith(("USB", "uku", "uni"))
    return f"{'an' if spoken_vowel else 'a'} {noun}"


def held_out_topic(category: Category) -> tuple[int, str]:
    """The topic of each category that no training question names: the last one of its last thread."""
    return len(category.threads) - 1, category.threads[-1].topics[-1]


def held_out_question(category: Category) -> tuple[int, str]:
    """The written question of each category that training never sees: the last one of its second thread."""
    return 1, category.threads[1].questions[-1]


def _ask_about(rng: random.Random, topic: str) -> str:
    return rng.choice(ABOUT_TOPIC).format(t=topic) if rng.random() < 0.45 else _carried(rng, topic)


def _carried(rng: random.Random, topic: str) -> str:
    return _carrier(rng).format(t=topic)


def _carrier(rng: random.Random) -> str:
    """A sentence put together from parts, with {t} where the topic goes."""
    on = rng.choice(ON)
    kind = rng.random()
    if kind < 0.35:
        words = rng.sample(FILLERS, rng.randint(1, 10))
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
    thread: int | None = None
    about = ""
    if kind < 0.14:
        thread = rng.randrange(len(entry.threads))
        spare = held_out_topic(entry)
        about = rng.choice([t for t in entry.threads[thread].topics if (thread, t) != spare])
        text = _ask_about(rng, about)
    elif kind < 0.21:
        thread = rng.randrange(len(entry.threads))
        spare = held_out_question(entry)
        text = rng.choice([q for q in entry.threads[thread].questions if (thread, q) != spare])
    elif kind < 0.43:
        text = rng.choice(entry.questions)
    elif kind < 0.78:
        about = rng.choice(entry.related + entry.asked + entry.wants)
        text = _ask_about(rng, about)
    elif kind < 0.88:
        about, other = rng.sample(entry.keywords, 2)
        text = rng.choice(ABOUT_KEYWORD).format(k=about, l=other) if rng.random() < 0.5 else _ask_about(rng, about)
    else:
        product = rng.choice(entry.products)
        about = bare(product)
        if rng.random() < 0.5:
            text = rng.choice(ABOUT_PRODUCT).format(a=with_article(product), p=about)
        else:
            text = _carried(rng, rng.choice((about, f"my {about}", with_article(product))))
    text = _dress(rng, text[0].upper() + text[1:])
    return Question(_misspell(rng, text) if rng.random() < 0.04 else text, category, thread, about=about)


def elsewhere_question(rng: random.Random) -> Question:
    """A question about none of the 50 categories, or a greeting. Many are worded as those about a category are, some
    with words that nobody knows, so that only the subject tells them apart.
    """
    entries = load_elsewhere()
    if rng.random() < GREETS:
        return Question(rng.choice(entries["greetings"]), None, None, greeting=True)
    kind = rng.choices(list(ELSEWHERE), list(ELSEWHERE.values()))[0]
    subject, other = rng.sample(entries["figures" if kind == "about a figure" else "subjects"], 2)
    x, y = rng.sample(entries["places"], 2)
    if kind in (ASKED_ALIKE, UNKNOWN):
        if kind == UNKNOWN:
            subject, other = (" ".join(invented_word(rng) for _ in range(rng.randint(1, 2))).lower() for _ in "ab")
        form = rng.choice(ABOUT_KEYWORD).format(k=subject, l=other) if rng.random() < 0.3 else None
        text = form or _ask_about(rng, subject)
    else:
        text = rng.choice(entries[kind]).format(
            s=subject, t=other, x=x, y=y, n=rng.randint(2, 999), m=rng.randint(2, 99), d=rng.choice(entries["deeds"])
        )
    text = _dress(rng, text[0].upper() + text[1:])
    about = subject if subject.lower() in text.lower() else ""
    return Question(_misspell(rng, text) if rng.random() < 0.04 else text, None, None, about=about)


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
