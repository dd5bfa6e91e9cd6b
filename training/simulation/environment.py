"""The simulation environment (section 5.1): auctions, then answers, then clicks, each a file of the run's folder.

    manifest.json    what was asked for: settings, seed, model, world, click model
    auctions.jsonl   one row per query: candidates and fresh bids
    responses.jsonl  one row per sampled answer
    clicks.jsonl     one row per answer: feedback on every ad it shows
    summary.json     figures; follows from the files above alone
    timing.json      seconds and tokens of the last invocation that sampled

A run killed anywhere goes on behind its last whole line. A stage begins again where its engine computes queries
together, so that an engine which repeats itself leaves the same bytes. Knows neither engines nor click models.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chat.adllm.guidance import marker
from chat.adllm.prompts import ad_messages
from training.dataset import jsonl
from training.dataset.artifacts import RunRefused, claim, read_json, rows_sha256, write_json
from training.dataset.records import Auction, Exposure, Feedback, Query, Response
from training.simulation.bids import draw_auction
from training.simulation.clicks import ClickModel
from training.simulation.sampling import Sampler, SampleRequest, SamplingSettings
from training.simulation.summary import summarize
from training.simulation.world import World

Progress = Callable[[str, int, int, int], None]  # stage, rows done, rows in all, tokens written in this invocation
AT_ONCE = 100  # rows handed to the disk, and answers handed to the click model, together


@dataclass(frozen=True)
class RunSettings:
    """What a run is. `samples` answers are drawn for each query (M of section 5.2.3); `phase` makes bids fresh."""

    samples: int = 10
    seed: int | str = 0
    phase: str = "simulation"
    shuffle: bool = True  # the candidates' order, as in training
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    guided: bool = False  # only markers of the auction can be written; the paper's policy is free to break them


def simulate(
    *,
    world: World,
    queries: Sequence[Query],
    sampler: Sampler,
    click_model: ClickModel,
    settings: RunSettings,
    out: Path,
    resume: bool = False,
    about: Mapping[str, Any] | None = None,
    progress: Progress = lambda stage, done, total, tokens: None,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Run, or go on with, the whole pipeline; returns the summary. `about` is further said in the manifest.

    Raises RunRefused, DataError, SamplingError and what the click model raises; each leaves a folder to go on with.
    """
    manifest = _manifest(world, queries, sampler, click_model, settings) | dict(about or {})
    claim(out, manifest, resume=resume)
    timing: dict[str, float] = {}

    # 1, 2) Candidates, fresh bids, and answers.
    began = clock()
    tokens, rows = answer(world=world, queries=queries, sampler=sampler, settings=settings, out=out, progress=progress)
    timing |= {"answers": rows, "tokens": tokens, "answers_s": round(clock() - began, 3)}
    n = settings.samples
    drawn = list(jsonl.read(Auction, out / "auctions.jsonl"))

    # 3) Clicks.
    def clicks(done: int) -> Iterator[list[Feedback]]:
        exposures = (
            Exposure(world.profiles[query.profile_id], query, auction, response)
            for query, auction, response in _joined(queries, drawn, out / "responses.jsonl", n, skip=done)
        )
        for group in groups_of(exposures, AT_ONCE):
            yield click_model.feedback_many(group, ads=world.ads, seed=settings.seed)

    began = clock()
    _grow(out / "clicks.jsonl", clicks, total=len(queries) * n, progress=progress)
    timing["clicks_s"] = round(clock() - began, 3)

    # 4) Figures.
    answered = _joined(queries, drawn, out / "responses.jsonl", n)
    judged = zip(answered, jsonl.read(Feedback, out / "clicks.jsonl"), strict=True)
    figures = summarize(((auction, response, feedback) for (_, auction, response), feedback in judged), ads=world.ads)
    write_json(out / "summary.json", figures)
    if rows:
        write_json(out / "timing.json", timing)
    return figures


def answer(
    *,
    world: World,
    queries: Sequence[Query],
    sampler: Sampler,
    settings: RunSettings,
    out: Path,
    progress: Progress = lambda stage, done, total, tokens: None,
) -> tuple[int, int]:
    """auctions.jsonl and responses.jsonl in `out`, without clicks; returns the tokens and answers that were added."""

    # 1) Candidates and fresh bids.
    def auctions(done: int) -> Iterator[list[Auction]]:
        for group in groups_of(queries[done:], AT_ONCE):
            yield [
                draw_auction(
                    query=query, ads=world.ads, seed=settings.seed, phase=settings.phase, shuffle=settings.shuffle
                )
                for query in group
            ]

    _grow(out / "auctions.jsonl", auctions, total=len(queries), progress=progress)
    drawn = list(jsonl.read(Auction, out / "auctions.jsonl"))

    # 2) Answers.
    n, size = settings.samples, sampler.together(settings.samples)

    def responses(done: int) -> Iterator[list[Response]]:
        start = done // n // size * size
        asked = range(start, len(queries))
        requests = [request_for(world, queries[at], drawn[at], guided=settings.guided) for at in asked]
        for at, answers in zip(asked, sampler.sample(requests, n=n, settings=settings.sampling), strict=True):
            rows = [
                Response(queries[at].id, number, answer.text, answer.tokens, answer.finished)
                for number, answer in enumerate(answers)
            ]
            if fresh := rows[max(0, done - at * n) :]:
                yield fresh

    return _grow(out / "responses.jsonl", responses, total=len(queries) * n, progress=progress)


def read_exposures(out: Path, *, world: World, queries: Sequence[Query], samples: int) -> Iterator[Exposure]:
    """Every answer of a folder that `answer` filled, in order. Raises DataError where the files do not fit."""
    drawn = list(jsonl.read(Auction, out / "auctions.jsonl"))
    for query, auction, response in _joined(queries, drawn, out / "responses.jsonl", samples):
        yield Exposure(world.profiles[query.profile_id], query, auction, response)


def read_timing(out: Path) -> dict[str, float]:
    """Seconds and tokens of the last invocation that sampled; empty before there was one."""
    path = out / "timing.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def read_manifest(out: Path) -> dict[str, Any]:
    """What a run was asked for. Raises RunRefused where the folder holds none."""
    there = read_json(out / "manifest.json") if (out / "manifest.json").exists() else None
    if not isinstance(there, dict) or not all(isinstance(there.get(key), dict) for key in ("settings", "world")):
        raise RunRefused(f"{out} holds no run of simulate: there is no manifest.json of one in it.")
    return there


def require_world(out: Path, world: World) -> None:
    """Raises RunRefused where the folder holds no run, or one over other ads or users than the world's."""
    made_over = read_manifest(out)["world"]
    if made_over.get("ads_sha256") != rows_sha256(world.ads.values()):
        raise RunRefused(f"{out} was simulated over other ads than this world's.")
    if made_over.get("profiles_sha256") != rows_sha256(world.profiles.values()):
        raise RunRefused(f"{out} was simulated with other users than this world's.")


def groups_of(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The rows, `size` at a time; the last group may be smaller."""
    rest = iter(rows)
    while group := list(islice(rest, size)):
        yield group


def request_for(world: World, query: Query, auction: Auction, *, guided: bool = False) -> SampleRequest:
    """The Ad-LLM's prompt for one query and its auction."""
    profile = world.profiles[query.profile_id].text
    candidates = auction.candidates(world.ads)
    messages = ad_messages(query=query.text, profile=profile, candidates=candidates)
    return SampleRequest(query.id, messages, tuple(map(marker, candidates)) if guided else ())


def _grow(
    path: Path, rows_behind: Callable[[int], Iterator[list[Any]]], *, total: int, progress: Progress
) -> tuple[int, int]:
    """Let a stage's file grow to its end, skipping a finished one; returns the tokens and rows that were added."""
    stage, tokens, added = path.stem, 0, 0
    if path.exists():
        progress(stage, total, total, 0)
        return tokens, added
    with jsonl.growing(path) as file:
        progress(stage, file.count, total, 0)
        if file.count < total:
            for rows in rows_behind(file.count):
                file.add(rows)
                added += len(rows)
                tokens += sum(getattr(row, "tokens", 0) for row in rows)
                progress(stage, file.count, total, tokens)
        if file.count != total:
            raise jsonl.DataError(f"{path.name}: {file.count} rows instead of {total}")
    return tokens, added


def _joined(
    queries: Sequence[Query], auctions: Sequence[Auction], responses: Path, n: int, *, skip: int = 0
) -> Iterator[tuple[Query, Auction, Response]]:
    """Every answer with its query and auction, from the `skip`th on. Raises DataError where the files do not fit."""
    for number, response in enumerate(jsonl.read(Response, responses)):
        query, auction = queries[number // n], auctions[number // n]
        if (response.query_id, response.sample, auction.query_id) != (query.id, number % n, query.id):
            raise jsonl.DataError(f"{responses.name}:{number + 1}: not the answer {number % n} to {query.id}")
        if number >= skip:
            yield query, auction, response


def _manifest(
    world: World, queries: Sequence[Query], sampler: Sampler, click_model: ClickModel, settings: RunSettings
) -> dict[str, Any]:
    return {
        "version": 1,
        "settings": asdict(settings),
        "engine": sampler.name,
        "engine_source": sampler.source,
        "queries_together": sampler.together(settings.samples),
        "click_model": click_model.name,
        "world": {
            "queries": len(queries),
            "ads": len(world.ads),
            "queries_sha256": rows_sha256(queries),
            "ads_sha256": rows_sha256(world.ads.values()),
            "profiles_sha256": rows_sha256(world.profiles.values()),
        },
    }
