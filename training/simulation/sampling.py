"""Sampling answers of an Ad-LLM: what is asked, what comes, and the one interface of all engines.

Knows neither ads nor files. An engine keeps the order of the requests and draws the answers of each one from a seed of
its own, so that a query's answers do not depend on which other queries are asked.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Messages = Sequence[dict[str, str]]


class SamplingError(RuntimeError):
    """No answers. The message is one sentence that says what is missing."""


@dataclass(frozen=True)
class SamplingSettings:
    """How answers are drawn; the defaults are those of App. B.2.1. `context` counts prompt and answer, in tokens."""

    temperature: float = 0.7
    top_p: float = 0.8
    top_k: int = 20
    max_tokens: int = 2048
    context: int = 16384
    seed: int | str = 0


@dataclass(frozen=True)
class SampleRequest:
    """One prompt. `id` names it in errors and, with the settings' seed, decides what is drawn for it.

    `markers`, if any, are the only ones that may be written (docs/adr/0005-guided-markers.md).
    """

    id: str
    messages: Messages
    markers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generated:
    """One answer: its text, its length in tokens (an end sign counts), and whether it ended by itself."""

    text: str
    tokens: int
    finished: bool


class Sampler(Protocol):
    """An engine. `name` is transformers, openai or vllm; `source` tells the model, for a run's manifest."""

    name: str
    source: dict[str, str]

    def together(self, n: int) -> int:
        """How many requests are computed together. A run goes on at a multiple of it, so that nothing changes."""
        ...

    def sample(
        self, requests: Sequence[SampleRequest], *, n: int, settings: SamplingSettings
    ) -> Iterator[list[Generated]]:
        """`n` answers to each request, in the order of the requests. Raises SamplingError."""
        ...


def seed_of(*parts: object, bits: int = 63) -> int:
    """A whole number below 2**bits that follows from the parts alone."""
    digest = hashlib.sha256(repr(tuple(map(str, parts))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - bits)


class ScriptedSampler:
    """The fake we ship: answers by a function of (request, sample number, seed); a word counts as a token."""

    name = "scripted"

    def __init__(self, write, *, together: int = 4) -> None:
        self.source = {"model": "scripted"}
        self.asked: list[str] = []
        self._write, self._together = write, together

    def together(self, n: int) -> int:
        return self._together

    def sample(
        self, requests: Sequence[SampleRequest], *, n: int, settings: SamplingSettings
    ) -> Iterator[list[Generated]]:
        for request in requests:
            self.asked.append(request.id)
            seeds = [seed_of(settings.seed, request.id, number) for number in range(n)]
            texts = [self._write(request, number, seed) for number, seed in enumerate(seeds)]
            words = [text.split() for text in texts]
            yield [
                Generated(" ".join(found[: settings.max_tokens]), min(len(found), settings.max_tokens), whole)
                if not (whole := len(found) <= settings.max_tokens)
                else Generated(text, len(found), True)
                for text, found in zip(texts, words, strict=True)
            ]
