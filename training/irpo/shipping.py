"""A run's policy as a folder that the site serves beside the model it began with: weights in 16 bits and a card.

The card says where the weights come from and what they did on the run's test questions. Knows neither site nor command.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from training.dataset.artifacts import file_sha256, read_json
from training.irpo.dpo import load_policy
from training.irpo.loop import read_result

MAX_WEIGHTS = 16 * 1024 * 1024  # bytes: it goes into the repository
WEIGHTS, CARD, MANIFEST = "model.safetensors", "README.md", "manifest.json"

_FIGURES = {
    "revenue": "revenue per answer",
    "revenue_true_ctr": "the same by the user's chances",
    "reward": "reward (Eq. 8)",
    "ads_per_answer": "ads per answer",
    "share_without_ads": "answers without ads",
    "share_with_format_error": "answers with a format error",
    "share_on_topic": "shown ads on topic",
    "tokens_per_answer": "tokens per answer",
}


class NotShipped(ValueError):
    """There is nothing to ship, or it is too large. Nothing was written."""


def ship(run: Path, *, out: Path, generate: Path | None = None) -> dict[str, Any]:
    """Write the policy that the finished run in `run` keeps to the folder `out`, whole; returns its manifest.

    `generate` is the folder of a `generate` of its own, where the model it began with has one.
    """
    result = read_result(run)
    if result is None:
        raise NotShipped(f"{run} is not finished: go on with it first")
    if not result["epochs"]:
        raise NotShipped(f"{run} keeps the model that it began with: there is nothing to ship")
    model, tokenizer = load_policy(run / result["policy"], device="cpu")

    # Stored in 16 bits, which doubles what fits; the configuration still says float32, in which a CPU computes.
    weights = {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    size = sum(weight.numel() * weight.element_size() for weight in weights.values())
    if size > MAX_WEIGHTS:
        raise NotShipped(f"the weights take {size} bytes, more than {MAX_WEIGHTS}")
    scratch = out.with_name(out.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    model.save_pretrained(scratch, state_dict=weights)
    tokenizer.save_pretrained(scratch)
    if generate:
        shutil.copytree(generate, scratch / generate.name)
    manifest = _manifest(result, read_json(run / "manifest.json"), sha256=file_sha256(scratch / WEIGHTS))
    (scratch / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    (scratch / CARD).write_text(card(manifest), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    os.rename(scratch, out)
    return manifest


def _manifest(result: dict[str, Any], asked: dict[str, Any], *, sha256: str) -> dict[str, Any]:
    kept = result["epochs"]
    before, after = (next(m for m in result["metrics"] if m["epoch"] == epoch) for epoch in (0, kept))
    return {
        "sha256": sha256,
        "asked": asked,
        "epochs": kept,
        "stopped": result["stopped"],
        "before": before["test"],
        "after": after["test"],
        "kl_to_base": after["kl"]["kl_to_base"],
    }


def card(manifest: dict[str, Any]) -> str:
    """The model card, Markdown."""
    asked, before, after = manifest["asked"], manifest["before"], manifest["after"]
    algorithm = "grpo" if "grpo" in asked["config"] else "dpo"
    base = asked["policy"] if isinstance(asked["policy"], str) else ", ".join(
        f"`{name}` {sha256[:16]}" for name, sha256 in asked["policy"].items()
    )  # fmt: skip
    rows = [
        f"| {title} | {_figure(before[name])} | {_figure(after[name])} |"
        for name, title in _FIGURES.items()
        if name in before
    ]
    stopped = f" It stopped early: {manifest['stopped']}." if manifest["stopped"] else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [advertising, irpo, {algorithm}]
---
# Ad-LLM after IRPO

Trained by `manage.py run_irpo` to earn more with the ads that it weaves into its answers: {manifest["epochs"]} epochs
of Algorithm 1 with {algorithm.upper()}, clicks of the {asked["click_model"]} user, rewards from `{asked["reward"]}`,
preset `{asked["config"]["name"]}`, seed {asked["seed"]}.{stopped}

One answer to each of {after["queries"]} test questions, the same questions and bids before and after; nothing was
trained on them, but they also decided when to stop.

| | before | after |
|---|---|---|
{chr(10).join(rows)}

KL to the model it began with: {_figure(manifest["kl_to_base"])} nats an answer.

- **Begun with** {base}.
- **These weights**: sha256 {manifest["sha256"]}, bfloat16. `manifest.json` holds every number that the run was
  asked for.
- **Not for** anything but showing what the training does: it knows what the model it began with knows, its users are
  simulated, and nobody has judged the quality of its text.
"""


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
