"""The mixtures of tasks that the lab Ad-LLM's recipe goes through, phase by phase: numbers, no code."""

from dataclasses import dataclass, replace

from training.lab.wiring import Layers


@dataclass(frozen=True)
class Share:
    """A task's part of a phase. With a threshold, counts are levels, and the next is opened when the running loss
    falls below.
    """

    task: str
    weight: float
    counts: tuple[int, ...]
    threshold: float | None = None
    branches: int = 1


@dataclass(frozen=True)
class Phase:
    """Steps with one mixture of tasks; it ends early when it has levels and all of them are passed."""

    name: str
    steps: int
    shares: tuple[Share, ...]
    tokens: int = 2800  # in a step, about
    rate: tuple[float, float] = (1.0, 1.0)  # factor of the learning rates, from first to last step
    until_learned: bool = False


@dataclass(frozen=True)
class Preset:
    """A whole recipe."""

    name: str
    layers: Layers
    vocabulary: int
    texts: int
    phases: tuple[Phase, ...]
    words: int  # steps that teach which words belong to which category, before all else


COPY_LEVELS = (2, 4, 8, 16, 32, 50, 70, 100)
COPY = Share("copy", 0.5, COPY_LEVELS, threshold=0.4)
TITLES = Share("titles", 0.5, COPY_LEVELS, threshold=0.25)
LOOKUP = Share("lookup", 0.6, (4, 10, 30, 100), threshold=1.0)
HIGHEST = Share("highest", 0.2, (2, 6, 10, 30), threshold=0.8)
READ = Share("read", 0.4, (4, 10, 30, 100), threshold=1.2, branches=12)
TOPIC = Share("topic", 0.1, (1, 2), branches=16)

FULL = Preset(
    name="full",
    layers=(256, 640, 6),
    vocabulary=8000,
    texts=3000,
    words=1500,
    phases=(
        Phase("copy", 350, (COPY, TITLES), tokens=7000, rate=(1.0, 0.1), until_learned=True),
        Phase(
            "looking up",
            350,
            (LOOKUP, HIGHEST, replace(COPY, weight=0.1), replace(TITLES, weight=0.1)),
            tokens=7500,
            rate=(0.5, 0.1),
        ),
        Phase(
            "reading",
            490,
            (
                READ,
                replace(LOOKUP, weight=0.25),
                replace(HIGHEST, weight=0.1),
                TOPIC,
                replace(COPY, weight=0.05),
                replace(TITLES, weight=0.1),
            ),
            tokens=9600,
            rate=(0.4, 0.15),
        ),
        Phase(
            "short answers",
            490,
            (
                Share("answer", 0.5, (6, 10, 16, 30), branches=8),
                replace(READ, weight=0.15),
                TOPIC,
                replace(LOOKUP, weight=0.15),
                replace(HIGHEST, weight=0.05),
                replace(TITLES, weight=0.05),
            ),
            tokens=11000,
            rate=(0.5, 0.3),
        ),
        Phase(
            "last answers",
            1400,
            (
                Share("answer", 0.45, (16, 50, 100, 100), branches=12),
                replace(READ, weight=0.22, counts=(6, 10, 10, 30, 100), threshold=None),
                replace(LOOKUP, weight=0.13, counts=(10, 30, 100), threshold=None),
                replace(HIGHEST, weight=0.1, counts=(6, 10, 30, 100), threshold=None),
                replace(TITLES, weight=0.1, counts=(10, 30, 100), threshold=None, branches=12),
            ),
            tokens=12000,
            rate=(0.25, 0.004),
        ),
    ),
)
# From a finished model: words that topics.md has gained, and more practice, with empty lists, too. An hour or more on
# two cores.
AGAIN = replace(
    FULL,
    name="again",
    words=900,
    phases=(
        Phase(
            "answers again",
            850,
            (
                Share("answer", 0.36, (0, 16, 30, 30, 50, 50, 100, 100), branches=12),
                replace(TOPIC, weight=0.22, counts=(0, 2, 30, 100, 100), branches=40),
                replace(READ, weight=0.14, counts=(6, 10, 10, 30, 100), threshold=None),
                replace(LOOKUP, weight=0.1, counts=(10, 30, 100, 100), threshold=None),
                replace(HIGHEST, weight=0.04, counts=(6, 10, 10, 30, 100), threshold=None),
                replace(TITLES, weight=0.14, counts=(30, 100, 100), threshold=None, branches=12),
                replace(COPY, weight=0.06, counts=(30, 100, 100), threshold=None),  # without it, copying fades
            ),
            tokens=5000,
            rate=(0.2, 0.003),
        ),
    ),
)
TINY = Preset(
    name="tiny",
    layers=(64, 128, 2),
    vocabulary=700,
    texts=40,
    words=3,
    phases=(
        Phase("copy", 4, (Share("copy", 1.0, (1, 2), threshold=0.12),), tokens=300, until_learned=True),
        Phase(
            "answers",
            4,
            (Share("answer", 0.5, (4,), branches=2), Share("read", 0.3, (4,), branches=2), replace(COPY, weight=0.2)),
            tokens=800,
            rate=(1.0, 0.1),
        ),
    ),
)
PRESETS = {preset.name: preset for preset in (TINY, FULL, AGAIN)}
