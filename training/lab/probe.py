"""What can the lab Ad-LLM tell apart? Each skill by itself, on titles, ids and bids it never saw.

A skill counts as shown when every token of the right marker is the most likely one behind those before it: the marker
that greedy decoding would write. Questions with one right answer only. Knows nothing of Django.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from chat.adllm.prompts import ad_messages
from training.lab import catalogue, questions, reading
from training.lab.curriculum import LIST_THEM
from training.lab.groups import IGNORED, SLUGS, Branch, Group
from training.lab.network import token_losses

COPY = "copy"
SKILLS = (COPY, *reading.KINDS)
TARGETS = {
    10: {COPY: 0.98, reading.HIGHEST: 0.9, reading.TOPIC: 0.9, reading.BEST: 0.8},
    100: {COPY: 0.95},
}


@dataclass(frozen=True)
class Probe:
    """One question over a candidate list, the only right ad, and the chance of guessing it among the likely ones."""

    text: str
    right: catalogue.LabAd
    chance: float


def make_list(rng: random.Random, *, count: int) -> list[catalogue.LabAd]:
    """Unseen brands, one an ad, ids and bids; a third as many categories as ads, so that some have several."""
    slugs = rng.sample(SLUGS, min(len(SLUGS), max(2, count // 3)))
    return catalogue.make_candidates(rng, count=count, slugs=slugs, held_out=True, own_brands=True)


def make_probe(rng: random.Random, *, skill: str, count: int) -> tuple[list[catalogue.LabAd], Probe]:
    """A list and a question about it with exactly one right answer."""
    while True:
        ads = make_list(rng, count=count)
        if skill == COPY:
            return ads, Probe(LIST_THEM, rng.choice(ads), 1 / count)
        for _ in range(20):
            question = reading.reading_question(rng, ads=ads, kind=skill)
            if question is None or len(question.right) != 1:
                continue
            rivals = sum(ad.category == question.category for ad in ads) if skill == reading.BEST else count
            return ads, Probe(question.text, question.right[0], 1 / rivals)


@torch.no_grad()
def probe(
    *, model: Qwen3ForCausalLM, tok: PreTrainedTokenizerFast, candidates: int, questions_each: int, seed: int = 0
) -> dict[str, dict[str, float]]:
    """For each skill the share of right markers, what guessing would give, and how many were asked."""
    figures: dict[str, dict[str, float]] = {}
    for skill in SKILLS:
        rng = random.Random(f"probe/{seed}/{skill}/{candidates}")
        groups, chances = [], []
        for _ in range(questions_each):
            ads, asked_for = make_probe(rng, skill=skill, count=candidates)
            chances.append(asked_for.chance)
            groups.append(_group(rng, tok, ads, asked_for, given=skill == COPY))
        right = [whole for batch in _batches(groups, candidates) for whole in _all_right(model, batch)]
        figures[skill] = {
            "right": round(sum(right) / len(right), 4),
            "chance": round(sum(chances) / len(chances), 4),
            "questions": len(right),
        }
    return figures


def _group(
    rng: random.Random,
    tok: PreTrainedTokenizerFast,
    ads: Sequence[catalogue.LabAd],
    probe: Probe,
    *,
    given: bool,
) -> Group:
    """The prompt, and the right marker as the label; when copying, as much of the title is given as tells it apart."""
    messages = ad_messages(
        query=probe.text, profile=questions.visitor(rng).profile, candidates=[ad.candidate for ad in ads]
    )
    shown = tok.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)

    def ids(text: str) -> list[int]:
        return tok(text, add_special_tokens=False)["input_ids"]

    marker = ids(probe.right.marker)
    known = 1
    if given:
        others = [ids(ad.marker) for ad in ads if ad is not probe.right]
        while any(other[:known] == marker[:known] for other in others):
            known += 1
    return Group(ids(shown), [Branch(marker, [IGNORED] * known + marker[known:])])


def _batches(groups: Sequence[Group], candidates: int) -> list[list[Group]]:
    size = max(1, 200 // candidates)
    return [list(groups[at : at + size]) for at in range(0, len(groups), size)]


def _all_right(model: Qwen3ForCausalLM, groups: list[Group]) -> list[bool]:
    _, right, places = token_losses(model, groups)
    rows = places[:, 0]
    return [bool(right[rows == row].all()) for row in range(len(groups))]


def missed(figures: dict[int, dict[str, dict[str, float]]]) -> list[str]:
    """The targets that the figures miss, in words."""
    return [
        f"{skill} at {candidates} candidates is {figures[candidates][skill]['right']}, the target is {target}"
        for candidates, targets in TARGETS.items()
        if candidates in figures
        for skill, target in targets.items()
        if figures[candidates][skill]["right"] < target
    ]
