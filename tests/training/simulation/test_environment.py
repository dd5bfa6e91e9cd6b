import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings as site

from training.dataset import jsonl
from training.dataset.artifacts import RunRefused
from training.dataset.records import Ad, AdFeedback, Feedback, Profile, Query, Response
from training.simulation.environment import RunSettings, read_timing, simulate
from training.simulation.sampling import SamplingSettings, ScriptedSampler
from training.simulation.world import World

ADS = {f"Ad-{1000 + n}": Ad(id=f"Ad-{1000 + n}", title=f"Mug {n}", category="tea") for n in range(6)}
ALICE = Profile(id="u1", info="A nurse.", interests=("tea",), split="train")
QUERIES = [Query(f"u1-q{n}", "u1", f"How do I brew tea number {n}?", "train") for n in range(7)]
WORLD = World(ADS, {"u1": ALICE}, QUERIES)
SETTINGS = RunSettings(samples=3, seed=5, sampling=SamplingSettings(seed=5))
FILES = ("manifest.json", "auctions.jsonl", "responses.jsonl", "clicks.jsonl", "summary.json")


def write(request, number, seed):
    shown = [ad for n, ad in enumerate(ADS.values()) if seed >> n & 1][:2]
    return "Warm the pot. " + " ".join(f"Take @{ad.title}@[{ad.id}]." for ad in shown)


class EveryFirst:
    """A click model: the first ad of each answer is clicked."""

    name = "first"

    def feedback_many(self, exposures, *, ads, seed):
        found = []
        for exposure in exposures:
            shown = [ad_id for ad_id in ads if f"[{ad_id}]" in exposure.response.text]
            told = [AdFeedback(ad_id, at, at == 0, ctr=0.5) for at, ad_id in enumerate(shown)]
            found.append(Feedback(exposure.response.query_id, exposure.response.sample, tuple(told)))
        return found


def run(out, *, sampler=None, **options):
    return simulate(
        world=WORLD, queries=options.pop("queries", QUERIES), sampler=sampler or ScriptedSampler(write, together=2),
        click_model=EveryFirst(), settings=options.pop("settings", SETTINGS), out=out, **options,
    )  # fmt: skip


def content(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def test_each_stage_leaves_its_file(tmp_path):
    figures = run(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*FILES, "timing.json"])
    rows = list(jsonl.read(Response, tmp_path / "responses.jsonl"))
    assert [(row.query_id, row.sample) for row in rows] == [(q.id, n) for q in QUERIES for n in range(3)]
    assert (figures["answers"], figures["queries"]) == (21, 7)
    assert figures == json.loads((tmp_path / "summary.json").read_text())
    assert read_timing(tmp_path)["tokens"] == figures["tokens"] == sum(row.tokens for row in rows)


def test_a_run_killed_at_any_point_ends_with_the_same_bytes(tmp_path):
    calls = []
    run(tmp_path / "whole", progress=lambda *told: calls.append(told))
    assert len(calls) > 10
    for stop in range(1, len(calls)):
        out = tmp_path / f"stop{stop}"
        told = iter(range(1, stop + 1))

        def fall(*_, told=told):
            if next(told, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(out, progress=fall)
        for torn in out.glob("*.part"):  # the last row was being written
            os.truncate(torn, max(0, torn.stat().st_size - stop % 40))
        run(out, resume=True)
        assert content(out) == content(tmp_path / "whole"), f"stopped at {calls[stop]}"


def test_what_is_there_is_not_sampled_again(tmp_path):
    run(tmp_path)
    again = ScriptedSampler(write, together=2)
    run(tmp_path, sampler=again, resume=True)
    assert again.asked == []


def test_a_stage_begins_again_where_queries_were_computed_together(tmp_path):
    run(tmp_path)
    lines = (tmp_path / "responses.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "responses.jsonl.part").write_bytes(b"".join(lines[:10]))  # one answer of the fourth query
    (tmp_path / "responses.jsonl").unlink()
    again = ScriptedSampler(write, together=2)
    run(tmp_path, sampler=again, resume=True)
    assert again.asked == [query.id for query in QUERIES[2:]]
    assert (tmp_path / "responses.jsonl").read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"settings": replace(SETTINGS, seed=6)}, "settings.seed is 5 there and 6 here"),
        ({"settings": replace(SETTINGS, samples=2)}, "settings.samples is 3 there and 2 here"),
        ({"queries": QUERIES[:3]}, "world.queries is 7 there and 3 here"),
        ({"about": {"encoder": "x"}}, "encoder is None there and 'x' here"),
        ({"sampler": ScriptedSampler(write, together=3)}, "queries_together is 2 there and 3 here"),
        ({"resume": False}, "already holds this run"),
    ],
)
def test_a_folder_with_another_run_is_refused(tmp_path, changes, complaint):
    run(tmp_path)
    before = content(tmp_path)
    with pytest.raises(RunRefused, match=complaint):
        run(tmp_path, **{"resume": True} | changes)
    assert content(tmp_path) == before


def test_answers_of_other_queries_are_refused(tmp_path):
    run(tmp_path)
    lines = (tmp_path / "responses.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "responses.jsonl").write_text("".join(lines[3:] + lines[:3]))
    with pytest.raises(jsonl.DataError, match=r"responses\.jsonl:1: not the answer 0 to u1-q0"):
        run(tmp_path, resume=True)


@pytest.mark.slow
def test_a_killed_process_goes_on_with_the_same_bytes(tmp_path, tiny_model):
    command = [sys.executable, "manage.py", "simulate", "--preset", "tiny", "--model", str(tiny_model), "--threads"]
    command += ["1", "--queries", "12", "--samples", "40", "--max-tokens", "16", "--seed", "4", "--json", "--out"]

    def start(out: Path, *more: str) -> subprocess.Popen:
        return subprocess.Popen(
            [*command, str(out), *more], cwd=site.BASE_DIR, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    victim = start(killed)
    part, deadline = killed / "responses.jsonl.part", time.monotonic() + 120
    while not (part.exists() and part.stat().st_size):
        assert victim.poll() is None, victim.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    rows = part.read_bytes().count(b"\n")
    assert 0 < rows < 480
    for process in (start(killed, "--resume"), start(whole)):
        told = process.communicate(timeout=200)[1]
        assert process.returncode == 0, told
    assert content(killed) == content(whole)
    shutil.rmtree(killed)
