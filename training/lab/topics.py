"""What the lab Ad-LLM knows of the world, read from topics.md. Knows nothing of ads, prompts or models."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from campaigns.auction.categories import CATEGORIES

TOPICS_FILE = Path(__file__).with_name("topics.md")


class TopicsError(ValueError):
    """topics.md does not say what the corpus needs; the message names the line."""


@dataclass(frozen=True)
class Thread:
    """A few topics and questions that the same tips answer."""

    topics: tuple[str, ...]
    questions: tuple[str, ...]
    tips: tuple[str, ...]


@dataclass(frozen=True)
class Category:
    """One of the 50 categories: how an answer calls it, what gives it away, what is sold in it, what helps."""

    slug: str
    phrase: str
    keywords: tuple[str, ...]
    related: tuple[str, ...]
    asked: tuple[str, ...]  # in questions alone, so that titles keep to what they were
    wants: tuple[str, ...]  # what people want help with, in questions alone
    products: tuple[str, ...]
    questions: tuple[str, ...]  # of all kinds, which any of its tips answers; training asks them as they are
    threads: tuple[Thread, ...]


def _items(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in re.split(r"[;,]", text) if item.strip())


def parse_topics(text: str) -> dict[str, Category]:
    """Categories by slug. Raises TopicsError for a line that fits nowhere or a category without three full threads."""
    categories: dict[str, Category] = {}
    for block in re.split(r"^## ", text, flags=re.M)[1:]:
        header, *lines = block.splitlines()
        slug, _, phrase = header.partition(": ")
        fields: dict[str, tuple[str, ...]] = {}
        asked: list[str] = []
        threads: list[dict[str, list[str]]] = []
        for line in filter(None, map(str.strip, lines)):
            if line.startswith("### "):
                threads.append({"topics": list(_items(line[4:])), "questions": [], "tips": []})
            elif not threads and line[:2] == "? ":
                asked.append(line[2:])
            elif threads and line[:2] in ("? ", "- "):
                threads[-1]["questions" if line[0] == "?" else "tips"].append(line[2:])
            elif line.startswith(("keywords: ", "related: ", "asked: ", "wants: ", "products: ")):
                key, _, value = line.partition(": ")
                fields[key] = _items(value)
            else:
                raise TopicsError(f"{slug}: cannot read the line {line!r}")
        if len(threads) != 3 or any(not all(thread.values()) for thread in threads) or len(fields) != 5 or not asked:
            raise TopicsError(
                f"{slug}: needs keywords, related and asked words, wants, products and questions, "
                "three threads of topics, questions, tips"
            )
        categories[slug] = Category(
            slug=slug,
            phrase=phrase,
            questions=tuple(asked),
            threads=tuple(Thread(**{key: tuple(value) for key, value in thread.items()}) for thread in threads),
            **fields,
        )
    if list(categories) != list(CATEGORIES):
        raise TopicsError(f"the categories differ: {sorted(set(categories) ^ set(CATEGORIES))}")
    return categories


@cache
def load_topics() -> dict[str, Category]:
    """The shipped topics."""
    return parse_topics(TOPICS_FILE.read_text(encoding="utf-8"))
