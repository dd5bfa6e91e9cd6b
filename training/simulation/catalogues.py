"""Bring somebody's catalogue into the form of a world's ads. Knows CSV, JSON Lines, GEM-Bench and the shop's own file.

A title meets the rules an advertiser meets (campaigns/auction/validation.py). What a marker cannot hold is taken out
where the rest still is a title, and refused otherwise; either way it is counted and the line is named.
"""

import csv
import json
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import StrictInt

from campaigns.auction.validation import InvalidInput, clean_ad_id, clean_profile, clean_title, title_skeleton
from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import Ad

SHOP = Path(__file__).parents[2] / "campaigns" / "data" / "catalogue.json"  # 100 ads in 50 categories
FIRST_ID = 1000
TOGETHER = 2  # ads of one category that a limit takes at a time: the paper's 100 ads span 50 categories

Format = Literal["csv", "jsonl", "gem-bench", "shop"]
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class GivenAd:
    """An ad as somebody's file has it. A world has no use for `url` and `bid`; the market has."""

    title: str
    id: str = ""
    category: str = ""
    description: str = ""
    url: str = ""
    bid: str | StrictInt = ""


@dataclass(frozen=True)
class Problem:
    """What was done about one entry: "cleaned", "refused" or "dropped"; `where` names its line."""

    where: str
    done: str
    reason: str
    title: str

    def __str__(self) -> str:
        return f"{self.where}: {self.done}, {self.reason}: {self.title[:60]!r}"


@dataclass(frozen=True)
class Catalogue:
    """The entries that can be used, each with where it stands; how many were read; and what was done to some."""

    entries: list[tuple[str, GivenAd]]
    read: int
    problems: list[Problem]


@dataclass(frozen=True)
class Imported:
    """The ads, how many entries were read, and every entry that did not come through as it was."""

    ads: list[Ad]
    read: int
    problems: list[Problem] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, Any]:
        """Entries read, ads and categories that came of them, and the problems by what was done and why."""
        reasons: dict[str, dict[str, int]] = {}
        for (done, reason), count in sorted(Counter((p.done, p.reason) for p in self.problems).items()):
            reasons.setdefault(done, {})[reason] = count
        categories = {ad.category for ad in self.ads} - {""}
        return {"read": self.read, "ads": len(self.ads), "categories": len(categories), **reasons}


def shop_ads() -> list[Ad]:
    """The ads of a world that names no others: those of the demo market."""
    return import_ads(SHOP, form="shop").ads


def import_ads(path: Path, *, form: Format | None = None, limit: int | None = None, seed: int | str = 0) -> Imported:
    """The ads of a file; ids from Ad-1000 on where it has none. Raises DataError with file and line.

    The first of several ads whose titles look the same stays. `limit` draws that many by seed, two of one category at a
    time from as many categories as it takes, and keeps the file's order.
    """
    catalogue = read_catalogue(path, form=form)
    kept = [given for _, given in catalogue.entries]
    taken = {given.id for given in kept}
    ids = (f"Ad-{number}" for number in range(FIRST_ID, 10**9))
    free = (ad_id for ad_id in ids if ad_id not in taken)
    chosen = _draw(kept, limit, seed) if limit is not None else kept
    ads = [Ad(ad.id or next(free), ad.title, ad.category, ad.description) for ad in chosen]
    return Imported(ads, catalogue.read, catalogue.problems)


def read_catalogue(path: Path, *, form: Format | None = None) -> Catalogue:
    """The entries of a file, titles made fit for a marker. Raises DataError with file and line."""
    entries = list(_entries(path, form or _guess(path)))
    problems: list[Problem] = []
    taken: dict[str, str] = {}  # ids of the file and where they stand
    for where, entry in entries:
        if entry.id:
            try:
                clean_ad_id(entry.id)
            except InvalidInput as error:
                raise DataError(f"{where}: {error}") from None
            if entry.id in taken:
                raise DataError(f"{where}: the id {entry.id} stands there twice, first at {taken[entry.id]}")
            taken[entry.id] = where
    kept: list[tuple[str, GivenAd]] = []
    looks: set[str] = set()
    for where, entry in entries:
        title, done, reason = _title(entry.title)
        if title is not None and (look := title_skeleton(title)) in looks:
            title, done, reason = None, "dropped", "title looks like an earlier one"
        if done:
            problems.append(Problem(where, done, reason, entry.title))
        if title is not None:
            looks.add(look)
            texts = {"category": _line(entry.category), "description": _line(entry.description)}
            kept.append((where, replace(entry, title=title, **texts)))
    if not kept:
        raise DataError(f"{path.name}: holds no ad that can be used")
    return Catalogue(kept, len(entries), problems)


# --- titles ---

_INSTEAD = str.maketrans("[]<>", "()()")
_REASONS = (  # what validation says, in a few words to count by
    ("mark up", "characters that mark up ads"),
    ("invisible", "invisible or unusual characters"),
    ("combining", "combining marks"),
    ("to 80 characters", "too short or too long"),
    ("letter or a digit", "no letter or digit"),
)


def _title(text: str) -> tuple[str | None, str, str]:
    """The title that can stand in a marker, or None; what was done, if anything, and why."""
    try:
        return clean_title(text), "", ""
    except InvalidInput as error:
        reason = next((short for part, short in _REASONS if part in str(error)), str(error))
    shown = "".join(
        " " if char.isspace() else char
        for char in unicodedata.normalize("NFKC", text).translate(_INSTEAD).replace("@", " at ")
        if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf", "Cn", "Co", "Cs"}
    )
    try:
        return clean_title(re.sub(r" {2,}", " ", shown)), "cleaned", reason
    except InvalidInput:
        return None, "refused", reason


def _line(text: str) -> str:
    """A category or a description on one line, without invisible characters."""
    return " ".join(clean_profile(text, max_length=10**9).split())


# --- choosing ---


def _draw(ads: Sequence[GivenAd], limit: int, seed: int | str) -> list[GivenAd]:
    rng = random.Random(repr(("limit", str(seed))))
    groups: dict[str, list[int]] = {}
    for index in rng.sample(range(len(ads)), len(ads)):
        groups.setdefault(ads[index].category, []).append(index)
    order = rng.sample(list(groups.values()), len(groups))
    longest = max(map(len, order))
    turns = [group[at : at + TOGETHER] for at in range(0, longest, TOGETHER) for group in order]
    return [ads[index] for index in sorted([index for turn in turns for index in turn][:limit])]


# --- files ---


def _guess(path: Path) -> Format:
    if form := _SUFFIXES.get(path.suffix.lower()):
        return form
    raise DataError(f"{path.name}: say which --format it has: {', '.join(get_args(Format)[:3])}.")


def _entries(path: Path, form: Format) -> Iterator[tuple[str, GivenAd]]:
    """Each entry with where it stands."""
    if form == "jsonl":
        return ((f"{path.name}:{number}", row) for number, row in jsonl.numbered(GivenAd, path))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name}: {error}") from None
    if form == "csv":
        return _csv(path.name, text)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name}: not JSON: {error}") from None
    return _gem_bench(path.name, content) if form == "gem-bench" else _shop(content)


def _csv(name: str, text: str) -> Iterator[tuple[str, GivenAd]]:
    rows = csv.reader(StringIO(text, newline=""), strict=True)
    known = list(GivenAd.__dataclass_fields__)
    begin = 1
    try:
        header = [cell.strip().lower() for cell in next(rows, [])]
        if "title" not in header or len(set(header)) < len(header):
            raise DataError(f"{name}:1: the header needs a column named title, and no column twice")
        if unknown := [cell for cell in header if cell not in known]:
            raise DataError(f"{name}:1: unknown column {unknown[0]!r}; known are {', '.join(known)}")
        begin = rows.line_num + 1  # a cell may hold line breaks; an entry is named by its first line
        for cells in rows:
            where, begin = f"{name}:{begin}", rows.line_num + 1
            if not any(map(str.strip, cells)):
                continue
            if len(cells) != len(header):
                raise DataError(f"{where}: {len(cells)} cells, but the header has {len(header)}")
            yield where, GivenAd(**dict(zip(header, (cell.strip() for cell in cells), strict=True)))
    except csv.Error as error:
        raise DataError(f"{name}:{begin}: not CSV: {error}") from None


def _gem_bench(name: str, content: Any) -> Iterator[tuple[str, GivenAd]]:
    """products.json: topic -> parallel lists of names, urls and descs; some topics are empty."""
    if not isinstance(content, dict):
        raise DataError(f"{name}: not an object of topics")
    for topic, lists in content.items():
        if not isinstance(lists, dict):
            raise DataError(f"{name}: topic {topic!r} is not an object of lists")
        columns = [lists.get(key, []) for key in ("names", "urls", "descs")]
        if any(not isinstance(column, list) or len(column) != len(columns[0]) for column in columns):
            raise DataError(f"{name}: topic {topic!r} needs lists names, urls and descs of the same length")
        for number, (title, url, description) in enumerate(zip(*columns, strict=True), 1):
            where = f"{name}: topic {topic!r}, product {number}"
            if not all(isinstance(cell, str) for cell in (title, url, description)):
                raise DataError(f"{where}: not text")
            yield where, GivenAd(title, category=topic, description=description, url=url)


def _shop(content: Iterable[dict[str, Any]]) -> Iterator[tuple[str, GivenAd]]:
    for owner in content:
        for ad in (ad for campaign in owner["campaigns"] for ad in campaign["ads"]):
            yield ad["id"], GivenAd(ad["title"], ad["id"], ad["category"], ad["description"])
