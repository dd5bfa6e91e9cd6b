"""How a marker is learned: which of its tokens, and where heads should look while it is written.

Knows tokens and the lines of a candidate list, no ads.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from training.lab.groups import IGNORED, Branch, Line, Look, Role, Vocabulary

MARKERS = 24  # in a branch that copies among others
ALONE = 60  # in a branch of its own


def random_titles(rng: random.Random, words: list[int], count: int) -> list[tuple[int, ...]]:
    """Titles of random tokens, nothing to guess. From six on, some begin or end alike and some lists use few words."""
    hard = count >= 6
    pool = rng.sample(words, rng.choice((12, count, 10 * count, len(words)))) if hard else words
    firsts = rng.sample(words, count)
    titles: dict[tuple[int, ...], None] = {}
    while len(titles) < count:
        length = rng.choice((1, 2, 3, 3, 4, 5, 6, 7, 9))
        start, end = [firsts[len(titles)]], []
        if titles and hard and rng.random() < 0.3:
            other = list(rng.choice(list(titles)))
            if rng.random() < 0.5:
                start = other[: rng.randint(1, len(other))]
            else:
                end = other[rng.randint(0, len(other) - 1) :]
        titles[(*start, *rng.choices(pool, k=max(0 if end else 1, length - len(start) - len(end))), *end)] = None
    return list(titles)


def spelled(line: Line, at: int, *, told: tuple[int, ...]) -> list[Look]:
    """Behind a marker's first token: the sign stands at `at`, what tells the topic at `told`. Brands share their parts,
    and sell several things, so which ad it is must be told again at every token of a title's beginning, where the list
    knows topics and bids, too.
    """
    looks = []
    for n in range(2, len(line.marker) - 1):
        looks.append(Look(at + n, Role.copier, line.places(n)))
        if again := line.again(n):
            looks.append(Look(at + n, Role.selector, again))
            if told:
                looks.append(Look(at + n, Role.reader, told))
    return looks


def followers(lines: Sequence[Line]) -> dict[tuple[int, ...], set[int]]:
    """Which tokens may follow the beginnings of the lines' titles."""
    follows: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for line in lines:
        for at in range(1, len(line.marker) - 2):
            follows[line.marker[1:at]].add(line.marker[at])
    return follows


def unless_free(line: Line, follows: dict[tuple[int, ...], set[int]]) -> list[int]:
    """The marker as labels, but for the sign and where the list lets it go on in several ways."""
    last = len(line.marker) - 2
    return [
        IGNORED if at == 0 or (at < last and len(follows[line.marker[1:at]]) > 1) else token
        for at, token in enumerate(line.marker)
    ]


def copied_out(line: Line, at: int, follows: dict[tuple[int, ...], set[int]]) -> list[Look]:
    """Where to look when only what is written tells how a marker goes on; its sign stands at `at`."""
    looks = []
    for n, label in enumerate(unless_free(line, follows)[:-1]):  # in the list, the bid's token ends the marker
        if label != IGNORED:
            looks.append(Look(at + n, Role.copier, line.places(n)))
            if again := line.again(n):
                looks.append(Look(at + n, Role.selector, again))
    return looks


def liner_looks(lines: Sequence[Line]) -> tuple[Look, ...]:
    titles = [tuple(range(line.start + 1, line.start + len(line.marker) - 3)) for line in lines]
    return tuple(
        Look(line.pick + n, Role.liner, title)
        for line, title in zip(lines, titles, strict=True)
        for n in range(1, line.beginning + 1)
    )


def copied_markers(rng: random.Random, vocabulary: Vocabulary, lines: Sequence[Line], *, most: int = MARKERS) -> Branch:
    """Some of the list's records as markers, in random order."""
    follows = followers(lines)
    nexts: dict[int, set[int]] = defaultdict(set)
    for line in lines:
        for token, after in pairwise(line.marker):
            nexts[token].add(after)
    tokens: list[int] = []
    labels: list[int] = []
    looks: list[Look] = []
    decides: list[int] = []  # where markers break: where ids begin, and where one token leaves open what follows
    for line in rng.sample(lines, min(len(lines), most)):
        learned = unless_free(line, follows)
        open_after = [n for n in range(1, len(learned)) if learned[n] != IGNORED and len(nexts[line.marker[n - 1]]) > 1]
        decides += [len(tokens) + n for n in sorted({*open_after, len(learned) - 3})]
        looks += [look for look in copied_out(line, len(labels), follows) if look.role == Role.copier]
        labels += learned
        tokens += [vocabulary.spaced_sign if tokens else vocabulary.sign, *line.marker[1:]]
    return Branch(tokens, labels, tuple(decides), tuple(looks))
