"""How fast an answer is read as it streams, on what a slow parser would choke on, against plain text of equal length.

Absolute times tell about the machine; ratios tell about this code. `growth` is what the time per character grows by, at
most, when the text gets twice as long: 1 is linear, 2 quadratic. All are processor times, the best of the rounds: other
work on the machine only ever adds to them.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from operator import truediv

from campaigns.auction.candidates import Candidate
from chat.adllm.markup import Parser

PIECE = 4  # characters that come at a time, about a token
SIZES = [102_400 >> halved for halved in range(6, -1, -1)]  # the shorter ones end before the parser's bound on signs
GROWTH_TARGET = 1.5
CANDIDATES = (Candidate("Ad-7", "Mug", 41_000_000), Candidate("Ad-12", "Mug Deluxe", 73_519_000))
PLAIN = "Water the balcony early, before the sun. "
HOSTILE = {
    "at signs": "@",
    "at x": "@x",
    "brackets": "[",
    "at brackets": "@[",
    "braces": "{",
    "quotes": '"',
    "Ad": "Ad",
    "half ids": "[Ad-",
    "at half ids": "@[Ad-",
    "stray ids": "[Ad-12]",
    "half keys": '{"Ad ',
    "leaked lines": '{"Ad ID": "Ad-7", "Ad Bid": "41"}\n',
    "leaks without end": '{"Ad ID": "Ad-7", "Ad Bid": "41"} ',
    "good markers": "@Mug@[Ad-7] ",
    "unknown ids": "@Mug@[Ad-999]",
    "wrong titles": "@mug@[Ad-7]",
    "unclosed": "@Mug@[Ad-7",
    "titles": "@Mug ",
    "title at": "@Mug@",
    "long titles": "@" + "x" * 119,
    "long titles closed": "@" + "x" * 120 + "@[",
    "e-mails": "a@b.com, ",
    "spaced": "@ [ ",
    "accents": "@" + "e\u0301" * 59 + "@[Ad-7]",
    "digits": "[Ad-" + "1" * 200,
    "one word": "x",
    "line ends": "\n",
}


@dataclass(frozen=True)
class MarkupReport:
    """Ratios by name of the text; the worst of each stands for itself, too."""

    rounds: int
    characters: int
    plain_microseconds: float  # for a character
    over_plain: dict[str, float]  # at the size where it is the most
    growth: dict[str, float]
    worst_over_plain: float
    worst_growth: float
    growth_target: float


def measure_markup(*, seconds: float, rounds: int, say: Callable[[str], None] = lambda line: None) -> MarkupReport:
    """Every text at every size in turns; the texts of a round share these seconds, but each is read whole."""
    texts = {"plain": PLAIN, **HOSTILE}
    share = seconds / len(texts) / len(SIZES)
    best: dict[tuple[str, int], float] = defaultdict(lambda: inf)
    for number in range(1, rounds + 1):
        for name, unit in texts.items():
            for size in SIZES:
                cost = _seconds_for(repeated(unit, size), at_least=share) / size
                best[name, size] = min(best[name, size], cost)
        say(f"round {number} of {rounds}")
    costs = {name: [best[name, size] for size in SIZES] for name in texts}
    plain = costs.pop("plain")
    over_plain = {name: round(max(map(truediv, cost, plain)), 1) for name, cost in costs.items()}
    growth = {name: round(max(map(truediv, cost[1:], cost)), 2) for name, cost in costs.items()}
    return MarkupReport(
        rounds=rounds,
        characters=SIZES[-1],
        plain_microseconds=round(plain[-1] * 1e6, 2),
        over_plain=over_plain,
        growth=growth,
        worst_over_plain=max(over_plain.values()),
        worst_growth=max(growth.values()),
        growth_target=GROWTH_TARGET,
    )


BENCHMARKS = {"markup": measure_markup}  # what `manage.py benchmark` finds here


def repeated(unit: str, size: int) -> str:
    return (unit * (size // len(unit) + 1))[:size]


def _seconds_for(text: str, *, at_least: float) -> float:
    """Processor time of the fastest reading; it is read again and again for about this long."""
    best, ends_at = inf, time.process_time() + at_least
    while True:
        began = time.process_time()
        parser = Parser(CANDIDATES)
        for at in range(0, len(text), PIECE):
            parser.feed(text[at : at + PIECE])
        parser.finish()
        best = min(best, time.process_time() - began)
        if time.process_time() >= ends_at:
            return best
