"""What a run has come to, for its page: its files, its figures, what is drawn of them. Only reads its folder."""

import json
from pathlib import Path

from training import stages
from training.dataset.artifacts import RESULT
from training.models import Stage, TrainingRun

Kind = TrainingRun.Kind
FILES = {  # what a run may leave, and what one line or the file is
    "summary.json": "all figures",
    "manifest.json": "what was asked for: settings, model, world, who clicks",
    "timing.json": "seconds and tokens",
    "auctions.jsonl": "one line per question: candidates and bids",
    "responses.jsonl": "one line per answer",
    "clicks.jsonl": "one line per answer: what the user did with each ad",
    stages.ADS: "the ads that were given",
    stages.QUERIES: "the questions that were given",
    "world/source.json": "who made the world",
    "world/ads.jsonl": "one line per ad",
    "world/profiles.jsonl": "one line per user",
    "world/queries.jsonl": "one line per question",
}
IRPO_FILES = {  # what a run of IRPO may leave, and its epochs
    RESULT: "which policy to keep, and why it stopped early",
    "manifest.json": "what was asked for: settings, model, world, who clicks",
    f"{stages.SHIPPED}/README.md": "the card of the policy that it keeps",
    f"{stages.SHIPPED}/model.safetensors": "its weights, bfloat16",
    **{name: told for name, told in FILES.items() if name.startswith(("world/", "given-"))},
}
EVALUATION_FILES = {
    RESULT: "all figures with their intervals",
    **{name: told for name, told in FILES.items() if name.startswith("world/")},
}
NUMBER, SHARE = "{:.2f}", "{:.1%}"
EVIDENCE = {  # the figures of an evaluation, as its page calls them, and how they are written
    "expected_revenue": ("Revenue per query", NUMBER),
    "revenue": ("The same with the luck of the clicks", NUMBER),
    "reward": ("Reward (Eq. 8)", NUMBER),
    "ads_per_answer": ("Ads per answer", NUMBER),
    "share_without_ads": ("Answers without ads", SHARE),
    "share_with_format_error": ("Answers with a format error", SHARE),
    "share_on_topic": ("Shown ads on topic", SHARE),
    "expected_ctr": ("CTR", SHARE),
}
EPOCH_FILES = {
    "metrics.json": "all figures",
    "test/responses.jsonl": "one line per answer to a test question",
    "online/responses.jsonl": "one line per answer that taught the reward model",
    "online/clicks.jsonl": "one line per answer: what the user did with each ad",
    "pctr/fit.json": "how good the reward model is",
    "yield.json": "how many auctions had a winner and losers",
    "groups.jsonl": "one line per auction: winner and losers",
    "dpo/steps.jsonl": "one line per step",
    "grpo/steps.jsonl": "one line per step",
}


def files(found: TrainingRun) -> dict[str, str]:
    """The files that a run may leave, by name, and what each is."""
    if found.kind == Kind.SIMULATION:
        return FILES
    if found.kind == Kind.EVALUATION:
        return EVALUATION_FILES
    epochs = sorted({stage.epoch for stage in found.stages.all()})
    return IRPO_FILES | {
        f"epoch-{epoch:02d}/{name}": f"epoch {epoch}: {told}" for epoch in epochs for name, told in EPOCH_FILES.items()
    }


def figures(found: TrainingRun) -> dict[str, object] | None:
    """The summary of a run that is complete; of IRPO, that of the policy it keeps. An evaluation has several."""
    if found.status != Stage.Status.COMPLETE or found.kind == Kind.EVALUATION:
        return None
    if found.kind == Kind.SIMULATION:
        return read(found.folder / "summary.json")
    ended = result(found)
    metrics = ended and read(found.folder / f"epoch-{ended['epochs']:02d}" / "metrics.json")
    if not metrics:
        return None
    test = metrics["test"]
    shown = {name: test[name] for name in ("ads_per_answer", "ctr")}
    return shown | {"revenue_per_query": round(test["revenue"], 3), "reward_per_query": test["reward"]}


def result(found: TrainingRun) -> dict | None:
    """What a run of IRPO, or an evaluation, ended with; None before."""
    return read(found.folder / RESULT)


def epochs(found: TrainingRun) -> list[dict]:
    """The figures of the epochs of IRPO that are measured so far."""
    measured = (read(path) for path in sorted(found.folder.glob("epoch-*/metrics.json")))
    return [metrics for metrics in measured if metrics]


def evidence(found: TrainingRun) -> list[dict[str, object]]:
    """Of an evaluation: a row for every figure, a cell for every policy in the order that was asked for."""
    if not (ended := result(found)):
        return []
    against = ended["against"]["policies"]
    return [
        {
            "title": title,
            "cells": [
                _cell(ended["policies"][name][figure], against.get(name, {}).get(figure), form=form)
                for name, _ in found.asked["policies"]
            ],
        }
        for figure, (title, form) in EVIDENCE.items()
    ]


def _cell(interval: dict | None, against: dict | None, *, form: str) -> dict[str, str]:
    """The mean, its interval, and how many times the first policy's it is."""
    if interval is None:
        return {"mean": "–"}
    cell = {name: form.format(value) for name, value in interval.items()}
    times = against and against["times"]
    if times:
        cell["times"] = "{mean:.2f} times ({low:.2f} to {high:.2f})".format(**times)
    return cell


def chart(found: TrainingRun) -> dict[str, object] | None:
    """What charts.js draws: of IRPO revenue and reward by epoch, of an evaluation clicks by bid; None where nothing."""
    if found.kind == Kind.IRPO and (measured := epochs(found)):
        labels = [f"epoch {metrics['epoch']}" if metrics["epoch"] else "before" for metrics in measured]
        figures = {"Revenue per query": "revenue", "Reward (Eq. 8)": "reward"}
        series = {title: [metrics["test"][name] for metrics in measured] for title, name in figures.items()}
        return _drawn("Revenue per query and reward by epoch", labels, series)
    if found.kind == Kind.EVALUATION and (ended := result(found)) and (sweeps := ended["sweep"]):
        labels = [f"{row['bid']}" for row in next(iter(sweeps.values()))["bids"]]
        series = {name: [row[swept["of"]] for row in swept["bids"]] for name, swept in sweeps.items()}
        return _drawn("Clicks an answer, by bid", labels, series)
    return None


def _drawn(title: str, labels: list[str], series: dict[str, list[float]]) -> dict[str, object]:
    told = [
        {"name": name, "values": values, "texts": [f"{value:.3g}" for value in values]}
        for name, values in series.items()
    ]
    return {"kind": "time", "unit": "number", "title": title, "labels": labels, "series": told}


def may_be_asked(found: TrainingRun) -> bool:
    """Has it left a policy that knows how to answer? Those of the tiny preset write nonsense."""
    trained = found.kind == Kind.IRPO and found.asked["preset"] != "tiny"
    return trained and (found.folder / stages.SHIPPED / "config.json").is_file()


def read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or the folder was tidied away
        return None
