"""Synthetic users: basic information that hangs together, and interests that fit it (section 5.1). Needs no model.

A person also has remarks, facts of the profile in the first person, so that a question may name one. Knows nothing of
questions.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from campaigns.auction.categories import CATEGORIES
from training.dataset.records import Profile, Split

TEST_SHARE = 0.2  # 3,000 of 15,000 queries, section 5.2.1

# Occupations by what their days are like.
_WORK = {
    "desk": "accountant, software developer, lawyer, translator, architect, insurance clerk, tax adviser, editor, "
    "civil servant, data analyst, bank clerk, graphic designer, project manager, secretary, journalist, engineer",
    "shift": "nurse, police officer, paramedic, midwife, security guard, train driver, factory worker, firefighter, "
    "hotel receptionist, air traffic controller, call centre agent, care worker",
    "feet": "chef, waiter, hairdresser, shop assistant, florist, baker, pharmacist, dental assistant, barista, "
    "physiotherapist, shop owner, warehouse worker",
    "hands": "carpenter, electrician, plumber, mechanic, gardener, farmer, bricklayer, roofer, painter, forester",
    "road": "lorry driver, sales representative, flight attendant, tour guide, taxi driver, consultant, courier",
    "people": "primary school teacher, kindergarten teacher, social worker, university lecturer, doctor, "
    "music teacher, sports coach, librarian, psychologist, vet",
    "home": "freelance designer, freelance writer, web developer, online tutor, bookkeeper, podcast producer",
}
_HABITS = {
    "desk": (
        ("who sits at a desk all day", "I sit at a desk all day."),
        ("who often works late", "I often work late."),
        ("who takes the train to work", "I take the train to work every day."),
    ),
    "shift": (
        ("who works night shifts", "I work night shifts."),
        ("with changing shifts", "My shifts change every week."),
        ("who starts work at five in the morning", "I start work at five in the morning."),
    ),
    "feet": (
        ("who stands all day", "I stand all day at work."),
        ("who works at weekends", "I work at weekends."),
    ),
    "hands": (
        ("who does heavy work", "My work is heavy."),
        ("who works outdoors in all weather", "I work outdoors in all weather."),
    ),
    "road": (
        ("who travels for work", "I travel a lot for work."),
        ("who sleeps in hotels half of the week", "I sleep in hotels half of the week."),
    ),
    "people": (
        ("who talks to people all day", "I talk to people all day."),
        ("who brings work home", "I always bring work home."),
    ),
    "home": (
        ("who works from home", "I work from home."),
        ("with no fixed hours", "I set my own hours."),
        ("with an irregular income", "My income is irregular."),
    ),
}
_STUDIES = "law, biology, economics, history, mechanical engineering, medicine, literature, computer science, education"


@dataclass(frozen=True)
class _Family:
    """Who somebody lives with, the ages at which that is common, and what follows from it."""

    words: str
    ages: tuple[int, int]
    weight: int = 1
    remark: str = ""
    holds: frozenset[str] = frozenset()


_FAMILIES = (
    _Family("alone", (18, 90), 4, "I live alone."),
    _Family("with a partner", (20, 90), 5, "I live with my partner."),
    _Family("with two flatmates", (18, 34), 3, "I share a flat with two others.", frozenset({"rents"})),
    _Family("with parents", (18, 25), 3, "I still live with my parents."),
    _Family("with a partner and a baby", (23, 42), 3, "We have a baby.", frozenset({"baby"})),
    _Family("with a partner and two small children", (27, 46), 4, "I have two small children.", frozenset({"child"})),
    _Family("with a seven-year-old daughter", (25, 48), 2, "I am a single parent.", frozenset({"child"})),
    _Family("with a partner and three children", (32, 52), 2, "We have three children.", frozenset({"child"})),
    _Family("with a partner and a teenage son", (37, 60), 3, "Our son is a teenager.", frozenset({"teen"})),
    _Family("with two teenage daughters", (38, 60), 1, "I have two teenage daughters.", frozenset({"teen"})),
    _Family("alone since the children moved out", (50, 75), 2, "Our children have moved out."),
    _Family(
        "with a partner and often the grandchildren",
        (56, 85),
        3,
        "I often mind my grandchildren.",
        frozenset({"child"}),
    ),
    _Family("with an elderly mother", (45, 68), 1, "I look after my mother."),
)
# In the tables below: the words, a remark in the homes and in money matters, what follows, the weight.
_HOMES = (
    ("a small flat", "I live in a small flat.", (), 5),
    ("a rented flat with a balcony", "I have a balcony.", ("balcony",), 4),
    ("a top-floor flat", "I live on the top floor.", (), 2),
    ("a bright attic flat", "My flat is under the roof.", (), 1),
    ("a terraced house", "We live in a terraced house.", ("garden",), 2),
    ("a house with a garden", "I have a garden.", ("garden",), 4),
    ("an old farmhouse", "I live in an old farmhouse.", ("garden",), 1),
    ("a shared house", "I live in a shared house.", ("garden",), 1),
    ("a one-room flat", "I have only one room.", (), 2),
)
_PLACES = (
    "in a big city",
    "in a small town",
    "in a village",
    "in a suburb",
    "near the coast",
    "in the mountains",
    "by a lake",
    "in a university town",
    "in the old town",
    "close to a forest",
)
_PETS = (
    ("", (), 11),
    ("a dog", ("dog",), 4),
    ("a puppy", ("dog",), 1),
    ("a cat", ("cat",), 4),
    ("two cats", ("cat",), 2),
    ("a dog and a cat", ("dog", "cat"), 1),
)
_WAYS = (
    ("", (), 5),
    ("Drives an old car.", ("car",), 4),
    ("Drives to work.", ("car", "works"), 4),
    ("Has no car.", (), 3),
    ("Goes everywhere by bike.", ("bike",), 3),
)
_MONEY = (
    ("", "", (), 8),
    ("Has to watch every expense.", "My budget is small.", ("poor",), 4),
    ("Is saving for a first home.", "I am saving for a first home.", ("saves",), 2),
    ("Earns well and has little time.", "I have little time.", ("works",), 3),
    ("Likes to buy used things.", "I like to buy used things.", (), 1),
    ("Pays more for what lasts.", "I would rather buy once than twice.", (), 2),
)

# How likely an interest becomes when something holds; 1 where nothing is said.
_BOOSTS = {
    "baby": {"baby-care": 25, "sleep": 3, "laundry": 2},
    "child": {"toys": 5, "board-games": 2, "baking": 2, "home-organising": 2, "swimming": 2},
    "teen": {"smartphones": 2, "video-games": 2, "studying": 2, "personal-finance": 2},
    "dog": {"dogs": 20, "hiking": 2},
    "cat": {"cats": 20},
    "garden": {"gardening": 5, "woodworking": 2},
    "balcony": {"gardening": 2, "houseplants": 2},
    "car": {"car-care": 3, "camping": 2},
    "bike": {"cycling": 8},
    "student": {"studying": 12, "language-learning": 2, "video-games": 2, "computers": 2},
    "old": {"gardening": 2, "reading": 2, "travel": 2, "sewing": 2},
    "young": {"video-games": 2, "strength-training": 2, "fashion": 2, "music-making": 2},
    "desk": {"back-care": 3, "computers": 2, "running": 2},
    "shift": {"sleep": 5, "coffee": 2},
    "feet": {"back-care": 2, "yoga": 2},
    "hands": {"woodworking": 3, "fishing": 2, "back-care": 2},
    "road": {"travel": 4, "home-audio": 2, "sleep": 2},
    "people": {"meditation": 2, "reading": 2},
    "home": {"home-office": 8, "coffee": 2, "back-care": 2},
    "poor": {"personal-finance": 3, "cooking": 2},
    "saves": {"personal-finance": 4},
}
_NEEDS = {  # an interest without which is not believable
    "baby-care": {"baby"},
    "toys": {"child", "baby"},
    "dogs": {"dog"},
    "cats": {"cat"},
    "car-care": {"car"},
    "studying": {"student", "teen", "people"},
    "home-office": {"home", "desk"},
    "gardening": {"garden", "balcony"},
}
_BARRED = {"old": {"video-games", "skiing", "strength-training"}, "student": {"home-security", "car-care"}}

Item = TypeVar("Item")


@dataclass(frozen=True)
class Person:
    """A profile, what its user may say of themselves, and the categories (slugs) the user likes or might ask about."""

    profile: Profile
    remarks: tuple[str, ...]
    likes: tuple[str, ...]
    open_to: tuple[str, ...]


def make_people(*, count: int, seed: int | str) -> list[Person]:
    """`count` people, one in five of them for testing. A person depends on the seed and on their number alone."""
    rng = random.Random(repr(("split", str(seed))))
    tested = set(rng.sample(range(count), round(count * TEST_SHARE)))
    return [
        _person(
            random.Random(repr(("person", str(seed), number))),
            profile_id=f"u{number:05d}",
            split="test" if number in tested else "train",
        )
        for number in range(count)
    ]


def _person(rng: random.Random, *, profile_id: str, split: Split) -> Person:
    age = min(88, max(18, round(rng.triangular(18, 86, 34))))
    work, habit, remarks, holds = _occupation(rng, age)
    families = [f for f in _FAMILIES if f.ages[0] <= age <= f.ages[1]]
    family = rng.choices(families, [f.weight for f in families])[0]
    shared = "rents" in family.holds and rng.random() < 0.3
    cramped = bool(family.holds & {"baby", "child", "teen"})
    homes = [row for row in _HOMES if ("shared" in row[0]) == shared and not (cramped and "one-room" in row[0])]
    home, pet, way, money = (_pick(rng, table) for table in (homes, _PETS, _WAYS, _MONEY))
    holds |= family.holds | {fact for choice in (home, pet) for fact in choice[-2]}
    if "works" in way[-2] and holds & {"student", "retired", "home"}:
        way = _WAYS[0]
    if "works" in money[-2] and holds & {"student", "retired"}:
        money = _MONEY[0]
    if "saves" in money[-2] and (age > 45 or "student" in holds):
        money = _MONEY[0]
    holds |= {*way[-2], *money[-2]}

    article = "An" if age == 18 or age >= 80 else "A"
    lives = f"Lives {family.words} in {home[0]} {rng.choice(_PLACES)}" + (f", with {pet[0]}." if pet[0] else ".")
    first = rng.choice((f"{article} {age}-year-old {work} {habit}".rstrip() + ".", _listed(age, work, habit)))
    info = " ".join(part for part in (first, lives, way[0], money[0]) if part)
    remarks = [f"I am {age} years old.", *remarks, family.remark, home[1], money[1]]
    likes, open_to = _interests(rng, holds)
    return Person(
        profile=Profile(
            id=profile_id, info=info, interests=tuple(slug.replace("-", " ") for slug in likes), split=split
        ),
        remarks=tuple(filter(None, remarks)),
        likes=likes,
        open_to=open_to,
    )


def _occupation(rng: random.Random, age: int) -> tuple[str, str, list[str], set[str]]:
    """What somebody does, the habit that comes with it, remarks, and what follows."""
    band = {"old"} if age >= 62 else {"young"} if age < 30 else set()
    if age < 27 and rng.random() < (0.75 if age < 23 else 0.4):
        subject = rng.choice(_STUDIES.split(", "))
        return f"student of {subject}", "", [f"I study {subject}."], band | {"student"}
    kind = rng.choices(list(_WORK), [6, 4, 4, 3, 2, 4, 2])[0]
    title = rng.choice(_WORK[kind].split(", "))
    if age >= 67 or (age >= 62 and rng.random() < 0.5):
        return f"retired {title}", "", ["I am retired."], band | {"retired"}
    habit, remark = rng.choice(_HABITS[kind])
    article = "an" if title[0] in "aeiou" else "a"
    return title, habit, [f"I work as {article} {title}.", remark], band | {kind}


def _listed(age: int, work: str, habit: str) -> str:
    """The same facts as a form would list them."""
    return f"{work[0].upper()}{work[1:]}, {age}{', ' + habit if habit else ''}."


def _interests(rng: random.Random, holds: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Three to six interests, and all categories that are believable for somebody of whom this holds."""
    barred = {slug for fact in holds for slug in _BARRED.get(fact, ())}
    believable = [slug for slug in CATEGORIES if slug not in barred and _NEEDS.get(slug, holds) & holds]
    weights = dict.fromkeys(believable, 1.0)
    for fact in sorted(holds):
        for slug, factor in _BOOSTS.get(fact, {}).items():
            if slug in weights:
                weights[slug] *= factor
    likes: list[str] = []
    for _ in range(rng.randint(3, 6)):
        likes.append(rng.choices(list(weights), list(weights.values()))[0])
        del weights[likes[-1]]
    return tuple(likes), tuple(believable)


def _pick(rng: random.Random, table: Sequence[Item]) -> Item:
    """One row by the weight that stands last in it."""
    return rng.choices(table, [row[-1] for row in table])[0]
