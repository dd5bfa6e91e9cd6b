"""A world: the ads, the users and their questions that a simulation runs on, as a folder of named files.

    ads.jsonl  profiles.jsonl  queries.jsonl  source.json  (and asked.jsonl where questions were generated)

Strangers' own ads and questions come in through read_ads and read_queries. Knows nothing of models, bids or answers.
"""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns.auction.validation import (
    InvalidInput,
    clean_ad_id,
    clean_profile,
    clean_query,
    clean_title,
    title_skeleton,
)
from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import Ad, Profile, Query, Split, Text
from training.simulation.profiles import TEST_SHARE
from training.simulation.queries import Asked, normal

ROWS = {"ads.jsonl": Ad, "profiles.jsonl": Profile, "queries.jsonl": Query}
SOURCE = "source.json"
ASKED = "asked.jsonl"


@dataclass(frozen=True)
class World:
    """Ads by id in the catalogue's order, profiles by id, and the questions in the order of their users."""

    ads: dict[str, Ad]
    profiles: dict[str, Profile]
    queries: list[Query]


@dataclass(frozen=True)
class GivenQuery:
    """A line of somebody's own questions file: who asks, and in which split, may be left out."""

    text: Text
    profile: str = ""
    interests: tuple[str, ...] = ()
    split: Split | None = None


def write_world(folder: Path, world: World, about: Mapping[str, Any]) -> dict[str, Any]:
    """Write the files; source.json, `about` with counts and checksums, comes last. Returns what stands in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(ROWS, (world.ads.values(), world.profiles.values(), world.queries), strict=True):
        jsonl.write(folder / name, rows)
    source = {**about, "counts": counts(world), "sha256": {name: _sha256(folder / name) for name in ROWS}}
    scratch = folder / (SOURCE + ".part")
    scratch.write_text(json.dumps(source, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(folder / SOURCE)
    return source


def counts(world: World) -> dict[str, int]:
    """How many of each, in all and by split; how many different question texts, and how many the splits share."""
    splits = Counter(query.split for query in world.queries)
    texts = {split: {normal(q.text) for q in world.queries if q.split == split} for split in ("train", "test")}
    profiles = Counter(profile.split for profile in world.profiles.values())
    return {
        "ads": len(world.ads),
        "categories": len({ad.category for ad in world.ads.values()} - {""}),
        "profiles": len(world.profiles),
        "train_profiles": profiles["train"],
        "test_profiles": profiles["test"],
        "queries": len(world.queries),
        "train_queries": splits["train"],
        "test_queries": splits["test"],
        "distinct_texts": len(texts["train"] | texts["test"]),
        "texts_in_both_splits": len(texts["train"] & texts["test"]),
    }


def read_world(folder: Path) -> World:
    """The world of a folder. Raises DataError where its files contradict each other or are not those of source.json."""
    source = read_source(folder)
    for name, expected in source["sha256"].items():
        if name in ROWS and (folder / name).is_file() and _sha256(folder / name) != expected:
            raise DataError(f"{folder.name}: {name} was changed after source.json was written; make the world anew.")
    ads = {ad.id: ad for ad in read_ads(folder / "ads.jsonl")}
    profiles: dict[str, Profile] = {}
    for number, profile in jsonl.numbered(Profile, folder / "profiles.jsonl"):
        if profile.id in profiles:
            raise DataError(f"profiles.jsonl:{number}: the id {profile.id} stands there twice")
        profiles[profile.id] = profile
    queries: dict[str, Query] = {}
    for number, query in jsonl.numbered(Query, folder / "queries.jsonl"):
        if query.id in queries:
            raise DataError(f"queries.jsonl:{number}: the id {query.id} stands there twice")
        if query.profile_id not in profiles:
            raise DataError(f"queries.jsonl:{number}: there is no profile {query.profile_id}")
        if query.split != profiles[query.profile_id].split:
            raise DataError(f"queries.jsonl:{number}: the profile {query.profile_id} belongs to the other split")
        queries[query.id] = query
    return World(ads, profiles, list(queries.values()))


def read_source(folder: Path) -> dict[str, Any]:
    """What made the world. Raises DataError where there is none."""
    try:
        source = json.loads((folder / SOURCE).read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{folder.name} holds no finished world: there is no source.json in it.") from None
    except ValueError:
        raise DataError(f"{folder.name}/source.json is not JSON.") from None
    if not isinstance(source, dict) or not isinstance(source.get("sha256"), dict):
        raise DataError(f"{folder.name}/source.json does not describe a world.")
    return source


def read_categories(folder: Path) -> dict[str, str | None]:
    """The category each question was made for (None: none of the 50), by query id; for reports. Empty if unknown."""
    if not (folder / ASKED).is_file():
        return {}
    return {
        query_id(asked.profile_id, number): category
        for asked in jsonl.read(Asked, folder / ASKED)
        for number, category in enumerate(asked.categories)
    }


def query_id(profile_id: str, number: int) -> str:
    """The id of somebody's question, counted from 0."""
    return f"{profile_id}-q{number}"


def read_ads(path: Path) -> list[Ad]:
    """A file of ads, in order, titles in their normal form. Raises DataError with file and line number."""
    found: dict[str, Ad] = {}
    looks: dict[str, str] = {}
    for number, ad in jsonl.numbered(Ad, path):
        try:
            ad_id, title = clean_ad_id(ad.id), clean_title(ad.title)
        except InvalidInput as error:
            raise DataError(f"{path.name}:{number}: {error}") from None
        if ad_id in found:
            raise DataError(f"{path.name}:{number}: the id {ad_id} stands there twice")
        if (twin := looks.setdefault(title_skeleton(title), ad_id)) != ad_id:
            raise DataError(f"{path.name}:{number}: the title looks like that of {twin}; import_ads drops such ads")
        found[ad_id] = Ad(id=ad_id, title=title, category=ad.category, description=ad.description)
    if not found:
        raise DataError(f"{path.name}: holds no ad")
    return list(found.values())


def read_queries(path: Path, *, seed: int | str) -> tuple[list[Profile], list[Query], dict[str, int]]:
    """Somebody's own questions: the profiles behind them, the questions, and how many were dropped, by reason.

    Lines with the same profile come from one user; a line without one from a user nobody knows. One user in five is
    drawn by seed to test with, unless the lines say. Raises DataError with file and line number.
    """
    users: dict[tuple[str, tuple[str, ...]] | int, list[tuple[int, GivenQuery]]] = {}
    for number, row in jsonl.numbered(GivenQuery, path):
        try:
            text, info = clean_query(row.text), clean_profile(row.profile)
            interests = tuple(filter(None, map(clean_profile, row.interests)))
        except InvalidInput as error:
            raise DataError(f"{path.name}:{number}: {error}") from None
        key = (info, interests) if info or interests else number
        users.setdefault(key, []).append((number, GivenQuery(text, info, interests, row.split)))
    if not users:
        raise DataError(f"{path.name}: holds no question")
    tested = set(random.Random(repr(("split", str(seed)))).sample(range(len(users)), round(len(users) * TEST_SHARE)))
    profiles, queries = [], []
    dropped: Counter[str] = Counter()
    for index, rows in enumerate(users.values()):
        drawn: Split = "test" if index in tested else "train"
        said = {row.split for _, row in rows} - {None}
        if len(said) > 1:
            raise DataError(f"{path.name}:{rows[-1][0]}: one user cannot be both in train and in test")
        first = rows[0][1]
        split = said.pop() if said else drawn
        profiles.append(Profile(id=f"u{index:05d}", info=first.profile, interests=first.interests, split=split))
        texts: dict[str, str] = {}
        for _, row in rows:
            texts.setdefault(normal(row.text) or row.text, row.text)
        dropped["asked_twice_by_one_user"] += len(rows) - len(texts)
        queries += [
            Query(query_id(profiles[-1].id, number), profiles[-1].id, text, split)
            for number, text in enumerate(texts.values())
        ]
    kept = without_leaks(queries)
    dropped["test_text_also_in_train"] += len(queries) - len(kept)
    return profiles, kept, dict(dropped)


def choose(queries: Sequence[Query], *, count: int, seed: int | str) -> list[Query]:
    """`count` of the questions, drawn by seed, in their own order; all of them where there are no more."""
    places = random.Random(repr(("choose", str(seed)))).sample(range(len(queries)), min(count, len(queries)))
    return [queries[at] for at in sorted(places)]


def without_leaks(queries: Iterable[Query]) -> list[Query]:
    """The questions without those for testing whose text, case and punctuation aside, is also one for training."""
    rows = list(queries)
    trained = {normal(query.text) for query in rows if query.split == "train"}
    return [query for query in rows if query.split == "train" or normal(query.text) not in trained]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
