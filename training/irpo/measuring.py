"""How good is a policy? Figures on held-out test questions, the same questions and bids for every epoch.

Knows neither training nor the order of stages. docs/irpo.md explains each figure.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chat.adllm import markup
from training.dataset import jsonl
from training.dataset.online import read_online
from training.dataset.records import Ad, OnlineSample, Query
from training.irpo.config import DPOConfig, GRPOConfig
from training.irpo.dpo import Step, load_policy, log_probs_of
from training.irpo.log_probs import Answers, tokenize
from training.irpo.stopping import Answered
from training.reward_model.predictor import ClickPredictor
from training.reward_model.reward import score_many
from training.simulation.environment import request_for
from training.simulation.world import World


def figures(
    *,
    folder: Path,
    summary: Mapping[str, Any],
    world: World,
    queries: Sequence[Query],
    categories: Mapping[str, str | None],
    predictor: ClickPredictor | None,
) -> dict[str, Any]:
    """From a finished run of the simulation in `folder`, and its summary."""
    by_id = {query.id: query for query in queries}
    samples = list(read_online(folder, queries=by_id, profiles=world.profiles))
    exposures = [sample.exposure for sample in samples]
    found = {
        "queries": len(queries),
        "revenue": _mean([_revenue(sample, true=False) for sample in samples]),
        "revenue_true_ctr": _mean([_revenue(sample, true=True) for sample in samples]),
        "reward": summary["reward_per_query"],
        "reward_ctr": summary["reward_ctr"],
        "reward_predicted": None,
        "ads_per_answer": summary["ads_per_answer"],
        "share_without_ads": summary["share_without_ads"],
        "share_with_format_error": summary["share_with_format_error"],
        "share_cut": summary["answers_cut"] / summary["answers"],
        "share_on_topic": _on_topic(samples, world.ads, categories),
        "ctr": summary["ctr"],
        "clicks_by_bid": summary["clicks_by_bid"],
        "tokens_per_answer": summary["tokens_per_answer"],
    }
    if predictor:
        scored = score_many(exposures, ads=world.ads, predictor=predictor)
        found["reward_predicted"] = _mean([one.reward for one in scored])
    return found


def answered(*, folder: Path, epoch: int, world: World, queries: Sequence[Query]) -> Answered:
    """What each test question brought, from a finished run of the simulation in `folder`, to compare policies by."""
    samples = list(read_online(folder, queries={query.id: query for query in queries}, profiles=world.profiles))
    revenue = [_revenue(sample, true=True) for sample in samples]
    if None in revenue:
        revenue = [_revenue(sample, true=False) for sample in samples]
    errors = []
    for sample in samples:
        candidates = sample.exposure.auction.candidates(world.ads)
        errors.append(bool(markup.parse(sample.exposure.response.text, candidates, max_ads=len(candidates)).errors))
    return Answered(
        epoch=epoch,
        users=[sample.exposure.profile.id for sample in samples],
        revenue=np.array(revenue, float),
        ads=np.array([len(sample.feedback.ads) for sample in samples], float),
        errors=np.array(errors, float),
    )


def _revenue(sample: OnlineSample, *, true: bool) -> float | None:
    """Sum of bid * click of one answer; with `true`, of bid * the user's chance, None where that is unknown."""
    auction = sample.exposure.auction
    bids = dict(zip(auction.ad_ids, auction.bids, strict=True))
    chances = [ad.ctr if true else float(ad.clicked) for ad in sample.feedback.ads]
    if None in chances:
        return None
    return sum(bids[ad.ad_id] * chance for ad, chance in zip(sample.feedback.ads, chances, strict=True))


def _on_topic(
    samples: Sequence[OnlineSample], ads: Mapping[str, Ad], categories: Mapping[str, str | None]
) -> float | None:
    """The share of shown ads whose category is the question's; None where none is known or nothing is shown."""
    fits = [
        ads[ad.ad_id].category == category
        for sample in samples
        if (category := categories.get(sample.exposure.query.id))
        for ad in sample.feedback.ads
    ]
    return _mean(fits)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known and len(known) == len(values) else None


def divergence(
    *,
    folder: Path,
    policies: Mapping[str, str],
    world: World,
    queries: Sequence[Query],
    count: int,
    config: DPOConfig | GRPOConfig,
) -> dict[str, Any]:
    """Estimates of KL(pi_t || pi), in nats an answer, for each other policy named; `policies` holds pi_t as "policy".

    The mean of log pi_t(y) - log pi(y) over the first `count` test answers y in `folder`. They were sampled at the
    temperature of serving, so the estimate leans towards pi_t's likelier answers. One model is in memory at a time.
    """
    samples = list(read_online(folder, queries={query.id: query for query in queries}, profiles=world.profiles))
    chosen = [sample.exposure for sample in samples if sample.exposure.response.tokens][:count]
    found: dict[str, list[float]] = {}
    for policy in dict.fromkeys(policies.values()):
        model, tokenizer = load_policy(policy)
        groups: list[Answers] = [
            tokenize(
                tokenizer,
                query_id=exposure.query.id,
                messages=request_for(world, exposure.query, exposure.auction).messages,
                texts=[(exposure.response.text, exposure.response.finished)],
                context=config.context,
            )
            for exposure in chosen
        ]
        found[policy] = [row[0] for row in log_probs_of(model, groups, precision=config.precision)]
        del model
    ours = found[policies["policy"]]
    return {"answers": len(chosen)} | {
        f"kl_to_{name}": sum(a - b for a, b in zip(ours, found[policy], strict=True)) / len(ours) if ours else None
        for name, policy in policies.items()
        if name != "policy"
    }


def told_steps(steps: Sequence[Step]) -> dict[str, float]:
    """An epoch's DPO in a few numbers: means over its second half, when the policy has left the reference."""
    late = steps[len(steps) // 2 :]
    names = ("loss", "margin", "accuracy", "chosen_log_prob", "rejected_log_prob", "chosen_log_ratio")
    means = {name: sum(getattr(step, name) for step in late) / len(late) for name in (*names, "grad_norm")}
    return {"steps": len(steps)} | means


def read_steps(path: Path) -> list[Step]:
    return list(jsonl.read(Step, path))
