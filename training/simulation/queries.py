"""What users ask: the source of questions as an interface, and the built-in source, which needs no model.

The built-in questions speak of the topics and products that the lab Ad-LLM learned (training/lab). What its training
holds out, topics, whole questions and ways to ask, is for test users alone, and every question of a test user is worded
in one of these ways. So neither the lab's pre-training nor a later training saw the wording of a test question.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from training.dataset.records import Split
from training.lab.phrases import ABOUT_PRODUCT, ABOUT_TOPIC, HELD_OUT_ABOUT
from training.lab.questions import bare, held_out_question, held_out_topic, with_article
from training.lab.topics import Category, load_topics
from training.simulation import elsewhere
from training.simulation.profiles import Person

ELSEWHERE = 1 / 12  # share of questions about none of the 50 categories
OFF_PROFILE = 1 / 6  # of the others: about a category that the profile does not name
TRIES = 40  # to find a question that nobody asked yet


@dataclass(frozen=True)
class Asked:
    """The questions of one user as the source gave them; none where it failed.

    `categories` has a slug for each question, or None for none of the 50; it is empty where the source cannot tell.
    `errors` counts what went wrong on the way, by kind.
    """

    profile_id: str
    texts: tuple[str, ...]
    categories: tuple[str | None, ...] = ()
    errors: dict[str, int] = field(default_factory=dict)


class QuerySource(Protocol):
    """Where questions come from. `name` and `model` stand in source.json."""

    name: str
    model: str

    def questions(self, people: Sequence[Person], *, num_queries: int, skip: int = 0) -> Iterator[Asked]:
        """One Asked for each person, in order, without the first `skip`. May raise UserLLMError at any of them."""
        ...

    def notes(self) -> Mapping[str, object]:
        """What source.json should also say."""
        ...


def normal(text: str) -> str:
    """The same for texts that a reader would call the same question: case, spaces and punctuation are folded."""
    return " ".join("".join(char if char.isalnum() else " " for char in text.casefold()).split())


# Ways of the lab that sound stiff with some of its topics.
_STIFF = {
    "{t} for beginners",
    "Is there a simple way to manage {t}?",
    "I keep failing at {t}. What can I do?",
    "My friend and I talk a lot about {t}. What would you recommend?",
    "How would you approach {t}?",
    "Let's talk about {t}.",
    "What do experts say about {t}?",
    "I want to spend more time on {t} this year.",
    "{t}, any suggestions?",
}
_ACTIVITY = {  # ways that want something one does
    "How do I get started with {t}?",
    "I am new to {t}. Where should I begin?",
    "How can I get better at {t}?",
    "How does one improve at {t}?",
}
_ABOUT = tuple(form for form in ABOUT_TOPIC if form not in _STIFF)
_HELD_OUT_PRODUCT = (
    "I am about to get {a}. What matters?",
    "Would {a} make sense for me?",
    "Help me pick {a}.",
    "I can't decide on {a}. Can you help?",
    "Someone told me to get {a}. Is that a good idea?",
    "I keep putting off buying {a}. Is it worth it?",
    "My {p} won't do any longer. What now?",
)
_ENDINGS = (
    "Thanks!",
    "Thank you in advance.",
    "Please keep it short.",
    "Please answer in simple words.",
    "Any help is welcome.",
)


class BuiltinQueries:
    """Questions by grammar, by seed alone. Hardly any text is asked twice; none by one user, none in both splits."""

    name = "builtin"
    model = ""

    def __init__(self, *, seed: int | str) -> None:
        self._seed = str(seed)

    def questions(self, people: Sequence[Person], *, num_queries: int, skip: int = 0) -> Iterator[Asked]:
        """As in QuerySource. What was asked before matters, so the skipped people ask too."""
        seen: dict[Split, set[str]] = {"train": set(), "test": set()}
        for number, person in enumerate(people):
            asked = self._ask(person, seen, num_queries)
            if number >= skip:
                yield asked

    def notes(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def _ask(self, person: Person, seen: dict[Split, set[str]], num_queries: int) -> Asked:
        rng = random.Random(repr(("queries", self._seed, person.profile.id)))
        split = person.profile.split
        other_split = seen["test" if split == "train" else "train"]
        likes = rng.sample(person.likes, len(person.likes))  # one question after another goes through them
        mine: dict[str, tuple[str, str | None]] = {}
        while len(mine) < num_queries:
            category = _category(rng, person, likes[len(mine) % len(likes)])
            for attempt in range(TRIES * 25):
                text = question(rng, category=category, person=person)
                key = normal(text)
                if key in mine or key in other_split or (key in seen[split] and attempt < TRIES):
                    continue
                mine[key] = (text, category)
                break
            else:
                raise ValueError(f"The grammar cannot word {num_queries} different questions for one user.")
        seen[split].update(mine)
        texts, categories = zip(*mine.values(), strict=True)
        return Asked(person.profile.id, texts, categories)


def _category(rng: random.Random, person: Person, liked: str) -> str | None:
    if rng.random() < ELSEWHERE:
        return None
    if rng.random() < OFF_PROFILE:
        return rng.choice([slug for slug in person.open_to if slug not in person.likes])
    return liked


def question(rng: random.Random, *, category: str | None, person: Person) -> str:
    """One question of the person about a category (None: about something else), in the wording of their split."""
    held_out = person.profile.split == "test"
    if category is None:
        return _typed(rng, elsewhere.question(rng, held_out=held_out))
    text = (_held_out if held_out else _trained)(rng, load_topics()[category])
    text = text[0].upper() + text[1:]
    # People say who they are, and that they are in a hurry, before and after what they ask.
    if rng.random() < 0.2:
        text = f"{rng.choice(person.remarks)} {text}"
    if rng.random() < 0.1:
        text = f"{text} {rng.choice(_ENDINGS)}"
    return _typed(rng, text)


def _trained(rng: random.Random, entry: Category) -> str:
    kind = rng.random()
    thread = rng.choice(entry.threads)
    spare = held_out_question(entry)[1], held_out_topic(entry)[1]
    if kind < 0.3:
        return rng.choice([text for text in thread.questions if not any(words in text for words in spare)])
    if kind < 0.65:
        return _about_topic(rng, _ABOUT, rng.choice([topic for topic in thread.topics if topic not in spare]))
    return _about_product(rng, ABOUT_PRODUCT, entry)


def _held_out(rng: random.Random, entry: Category) -> str:
    kind = rng.random()
    if kind < 0.1:
        return held_out_question(entry)[1]
    if kind < 0.3:
        return _about_topic(rng, _ABOUT, held_out_topic(entry)[1])
    if kind < 0.7:
        return _about_topic(rng, HELD_OUT_ABOUT, rng.choice(rng.choice(entry.threads).topics))
    return _about_product(rng, _HELD_OUT_PRODUCT, entry)


def _about_topic(rng: random.Random, forms: Sequence[str], topic: str) -> str:
    activity = topic.split()[0].endswith("ing") and topic.split()[0] not in ("evening", "morning")
    return rng.choice([form for form in forms if activity or form not in _ACTIVITY]).format(t=topic)


def _about_product(rng: random.Random, forms: Sequence[str], entry: Category) -> str:
    product = rng.choice(entry.products)
    return rng.choice(forms).format(a=with_article(product), p=bare(product))


def _typed(rng: random.Random, text: str) -> str:
    """As people type: now and then without capitals, or without the last sign."""
    if rng.random() < 0.12:
        text = text.lower()
    if rng.random() < 0.1:
        text = text.rstrip("?.!")
    return text
