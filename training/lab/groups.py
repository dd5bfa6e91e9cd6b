"""What the lab Ad-LLM learns from: a prompt's prefix, the branches behind it, and where heads should look.

Knows tokens, not tensors, and no tasks.
"""

import string
from dataclasses import dataclass
from enum import StrEnum

from transformers import PreTrainedTokenizerFast

from chat.adllm import prompts
from training.lab import catalogue, tokenizer
from training.lab.topics import load_topics

IGNORED = -100  # a label that no loss is taken on
SLUGS = tuple(load_topics())


def topic_number(slug: str | None) -> int:
    """A category's number among the topics; the last stands for none of them."""
    return len(SLUGS) if slug is None else SLUGS.index(slug)


class Role(StrEnum):
    """What an attention head is shown to do (wiring.heads_of says which heads do it)."""

    liner = "liner"  # where a title's beginning stands again: look at any token of the title
    reader = "reader"  # while answering: look at the words that give the topic away
    selector = "selector"  # at a marker's beginning: look at the beginnings behind the bids of ads that may stand there
    copier = "copier"  # within a marker: look at the same token in the list, at its beginning where the selector looks


@dataclass(frozen=True)
class Look:
    """Where an attention head should look while it stands just before the place `at`, and so foretells that token.

    `at` counts from the beginning of the branch, or of the prefix for a group's own looks; `places`, any of which will
    do, from the beginning of the prefix.
    """

    at: int
    role: Role
    places: tuple[int, ...]


@dataclass(frozen=True)
class Branch:
    """Tokens behind the prefix and, for each, its label or IGNORED. `decides` are the positions that count most.

    `topics` are places (from the branch's beginning) with the number of the category that should be known there.
    """

    tokens: list[int]
    labels: list[int]
    decides: tuple[int, ...] = ()
    looks: tuple[Look, ...] = ()
    topics: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Group:
    """One prefix and the branches behind it; `looks` and `topics` are those of the candidate list."""

    prefix: list[int]
    branches: list[Branch]
    looks: tuple[Look, ...] = ()
    topics: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> int:
        return len(self.prefix) + sum(len(branch.tokens) for branch in self.branches)


@dataclass(frozen=True)
class Line:
    """Where a candidate's line stands in the prefix, and its marker's tokens (in the list, the bid's token stands for
    the last). `pick` is where the title's first two words, of `beginning` tokens, stand again, behind the bid: there,
    topic and bid are known, and what a marker of this ad begins with.
    """

    start: int
    pick: int
    marker: tuple[int, ...]
    beginning: int = 1

    def places(self, n: int) -> tuple[int, ...]:
        """Where the marker's token n stands, n from 1 on: in the line's marker, and in its beginning again."""
        return (self.start + n, *self.again(n))

    def again(self, n: int) -> tuple[int, ...]:
        return (self.pick + n - 1,) if n <= self.beginning else ()


class Vocabulary:
    """The tokens that tasks need by name."""

    def __init__(self, tok: PreTrainedTokenizerFast) -> None:
        self.tok = tok
        self.opening = self.ids(tokenizer.USER + prompts.ROLE_AND_TASK)
        self.sign, self.spaced_sign, self.close, self.line_end = (self.ids(text)[0] for text in ("@", " @", "]", "\n"))
        self.bids = [self.ids(text)[0] for text in tokenizer.BIDS]
        self.marker_ids = [self.ids(text)[0] for text in tokenizer.MARKER_IDS]
        self.numbers = [self.ids(f"{n:02d}")[0] for n in range(100)]
        taken = {self.ids(str(n))[0] for n in range(100)} | {self.ids(f"{n:02d}")[0] for n in range(100)}
        letters = [self.ids(letter)[0] for letter in string.ascii_letters]
        self.words = letters + [i for i in range(259, len(tok) - len(tokenizer.FRAGMENTS)) if i not in taken]
        held_out = {part.lower() for part in (*catalogue.HELD_OUT_FIRST, *catalogue.HELD_OUT_SECOND)}
        pieces = (piece for piece in tok.get_vocab() if piece.isascii() and piece.isalpha())
        self.parts = sorted(piece for piece in pieces if piece.lower() not in held_out)  # what brands may be made of

    def ids(self, text: str) -> list[int]:
        return self.tok(text, add_special_tokens=False)["input_ids"]
