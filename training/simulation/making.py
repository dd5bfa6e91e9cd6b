"""Make a world: users, their questions from a source, and ads. Knows neither the commands nor the User-LLM's protocol.

Questions grow in asked.jsonl, one line a user, so that a run that was killed goes on; the other files follow at once.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import Ad, Query
from training.simulation.profiles import Person, make_people
from training.simulation.queries import Asked, QuerySource
from training.simulation.world import (
    ASKED,
    SOURCE,
    World,
    query_id,
    read_queries,
    read_source,
    without_leaks,
    write_world,
)

ADD_EVERY = 16  # users
PATIENCE = 20  # users without a question, before the run stops


def make_world(
    *,
    out: Path,
    source: QuerySource,
    ads: Sequence[Ad],
    ads_from: str,
    seed: int | str,
    num_profiles: int = 3000,
    num_queries: int = 5,
    progress: bool = False,
) -> dict[str, Any]:
    """The world of section 5.2.1 in the folder `out`; returns what stands in its source.json.

    Goes on where a run with the same settings stopped, and does nothing where it is finished. Raises DataError where
    the folder holds something else, and whatever the source raises.
    """
    about = {
        "source": source.name,
        "model": source.model,
        "seed": seed,
        "num_profiles": num_profiles,
        "num_queries": num_queries,
        "ads_from": ads_from,
        "ads_sha256": hashlib.sha256("".join(map(jsonl.dump, ads)).encode()).hexdigest(),
    }
    if (finished := _begin(out, about)) is not None:
        return finished
    people = make_people(count=num_profiles, seed=seed)
    if not (out / ASKED).exists():
        _ask(out, source, people, num_queries, progress)
    asked = list(jsonl.read(Asked, out / ASKED))
    splits = {person.profile.id: person.profile.split for person in people}
    queries = [
        Query(query_id(row.profile_id, number), row.profile_id, text, splits[row.profile_id])
        for row in asked
        for number, text in enumerate(row.texts)
    ]
    kept = without_leaks(queries)
    answered = {row.profile_id for row in asked if row.texts}
    errors = Counter[str]()
    for row in asked:
        errors.update(row.errors)
    world = World(
        ads={ad.id: ad for ad in ads},
        profiles={person.profile.id: person.profile for person in people if person.profile.id in answered},
        queries=kept,
    )
    failures = {
        "retries_or_failures": dict(sorted(errors.items())),
        "users_without_questions": len(people) - len(answered),
        "dropped": {"test_text_also_in_train": len(queries) - len(kept)},
    }
    made = write_world(out, world, {**about, **source.notes(), **failures})
    _plan(out).unlink(missing_ok=True)
    return made


def take_world(*, out: Path, queries_file: Path, ads: Sequence[Ad], ads_from: str, seed: int | str) -> dict[str, Any]:
    """A world of somebody's own questions; otherwise as make_world. Raises DataError with file and line."""
    about = {"source": "file", "model": "", "seed": seed, "queries_from": queries_file.name, "ads_from": ads_from}
    profiles, queries, dropped = read_queries(queries_file, seed=seed)
    world = World({ad.id: ad for ad in ads}, {profile.id: profile for profile in profiles}, queries)
    if (out / SOURCE).exists() or _plan(out).exists():
        raise DataError(f"{out.name} already holds a world; choose another folder.")
    return write_world(out, world, {**about, "dropped": dropped})


def _plan(out: Path) -> Path:
    return out / "making.json"


def _begin(out: Path, about: dict[str, Any]) -> dict[str, Any] | None:
    """The finished world's source.json if there is one; else note down what is being made."""
    if (out / SOURCE).exists():
        source = read_source(out)
        if any(source.get(key) != value for key, value in about.items()):
            raise DataError(f"{out.name} already holds another world; choose another folder.")
        return source
    plan = _plan(out)
    if plan.exists() and json.loads(plan.read_text(encoding="utf-8")) != about:
        raise DataError(f"{out.name} holds a world begun with other settings; choose another folder or delete it.")
    out.mkdir(parents=True, exist_ok=True)
    plan.write_text(json.dumps(about), encoding="utf-8")
    return None


def _ask(out: Path, source: QuerySource, people: Sequence[Person], num_queries: int, progress: bool) -> None:
    """Let asked.jsonl grow. Nothing is kept before somebody got questions: a useless model leaves no trace."""
    from tqdm import tqdm

    with jsonl.growing(out / ASKED) as file:
        rows: list[Asked] = []
        proved = file.count > 0
        asked = source.questions(people, num_queries=num_queries, skip=file.count)
        try:
            for row in tqdm(asked, total=len(people), initial=file.count, unit="user", disable=not progress):
                rows.append(row)
                proved = proved or bool(row.texts)
                if not proved and len(rows) == PATIENCE:
                    break
                if proved and len(rows) >= ADD_EVERY:
                    file.add(rows)
                    rows = []
        finally:
            if proved:
                file.add(rows)
        if not proved:
            errors = sum((Counter(row.errors) for row in rows), Counter[str]())
            raise DataError(f"{source.model or source.name} gave {len(rows)} users no usable question: {dict(errors)}")
