"""What people ask that is about none of the 50 categories, read from elsewhere.md. Knows no ads and no answers."""

from functools import cache
from pathlib import Path

ELSEWHERE_FILE = Path(__file__).with_name("elsewhere.md")
LISTS = ("subjects", "figures", "places", "deeds", "greetings")  # several to a line
FORMS = ("about a subject", "about a figure", "about a place", "about numbers", "about a deed", "whole questions")


def parse_elsewhere(text: str) -> dict[str, tuple[str, ...]]:
    """The entries of each section. Raises ValueError where a section is missing, empty or unknown."""
    sections: dict[str, tuple[str, ...]] = {}
    for block in text.split("\n## ")[1:]:
        name, *lines = block.splitlines()
        entries = " ".join(lines).split(";") if name in LISTS else lines
        sections[name] = tuple(entry.strip() for entry in entries if entry.strip())
    if sorted(sections) != sorted((*LISTS, *FORMS)) or not all(sections.values()):
        raise ValueError(f"elsewhere.md needs the sections {', '.join((*LISTS, *FORMS))}, each with entries")
    return sections


@cache
def load_elsewhere() -> dict[str, tuple[str, ...]]:
    """The shipped entries by section."""
    return parse_elsewhere(ELSEWHERE_FILE.read_text(encoding="utf-8"))
