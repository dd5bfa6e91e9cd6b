"""Iterative Reward-Preference Optimization: Algorithm 1 of the paper, line by line. Knows no engine and no command.

    manifest.json          what was asked for: numbers, seed, world, theta_0, reward
    epoch-00/              theta_0: test/ and metrics.json
    epoch-01/
        online/            D_on: a run of the simulation (auctions, responses, clicks)
        feedback.json      how many real answers were mixed in, where a file of them was given
        pctr/              psi_1 and fit.json, what it is worth
        offline/1/         D_off: auctions with fresh bids, M answers in each; the same queries once more in offline/2/
        scored.jsonl       what each answer to a query is worth under the bids of each of its auctions
        groups.jsonl       one row per auction with a winner and losers; yield.json counts them
        dpo/               reference.jsonl, steps.jsonl; or grpo/ with steps.jsonl and scored.jsonl: online RL learns
                           from the answers it writes, so offline/ holds auctions alone and there are no groups
        policy/            theta_1
        test/              its answers to the test queries, and clicks
        metrics.json
        manifest.json      the finished stages, with the checksums of their files
    result.json            the policy to keep, and why the run stopped early if it did

`irpo` yields after every stage, so whoever drives it may stop there and go on later, in another process too: the memory
of a GPU comes back for certain only when a process ends.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from training.dataset.artifacts import RESULT, claim, file_sha256, read_json, rows_sha256, write_json
from training.irpo.config import IRPOConfig
from training.irpo.dpo import Diverged
from training.irpo.phases import FEEDBACK, Parts, Phases, Progress
from training.irpo.stages import Epoch, Stage


def irpo(
    *,
    parts: Parts,
    config: IRPOConfig,
    seed: int,
    out: Path,
    resume: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Iterator[Stage]:
    """Run Algorithm 1, or go on with it; yields each stage when it is finished, result.json comes last.

    Raises RunRefused, DataError, SamplingError, FitError, BiasedPCTR (Assumption 4.1), and what the click model raises;
    each leaves a folder to go on with. Divergence and collapse do not raise: the run ends with the last good policy.
    """
    claim(out, _manifest(parts, config, seed), resume=resume)
    if (out / RESULT).exists():
        return
    run = Phases(parts, config, seed, progress)
    policy, last = parts.policy, None  # theta_0, psi_0
    start = Epoch(out, 0)
    yield start.once("test", partial(run.test, start, policy), leaves=["test"])
    yield start.once("metrics", partial(run.measure, start, policy, policy), leaves=["metrics.json"])
    kept = [start]

    for t in range(1, config.epochs + 1):  # line 1
        epoch = Epoch(out, t)

        # Phase 1: reward model update (line 2). The Oracle has nothing to learn.
        if parts.reward.learns:
            yield epoch.once("online", partial(run.collect, epoch, policy), leaves=["online"])  # line 3
            leaves = ["pctr", *([FEEDBACK] if parts.feedback else [])]
            yield epoch.once("pctr", partial(run.update_reward, epoch, last), leaves=leaves)  # lines 4 to 8
            last = epoch.folder / "pctr"

        # Phase 2: LLM update (line 9).
        if config.algorithm == "dpo":
            yield epoch.once("offline", partial(run.answer, epoch, policy), leaves=["offline"])  # lines 10 to 12
            yield epoch.once(  # lines 13 to 15
                "preferences", partial(run.prefer, epoch), leaves=["scored.jsonl", "groups.jsonl", "yield.json"]
            )
            if reason := run.too_few_pairs(epoch):
                return _finish(out, policy, t - 1, reason)
            update = partial(
                epoch.once, "dpo", partial(run.optimize, epoch, policy), leaves=["dpo/steps.jsonl", "policy"],
                shared=True,
            )  # fmt: skip
        else:
            yield epoch.once("offline", partial(run.ask, epoch), leaves=["offline"])  # lines 10, 11
            update = partial(epoch.once, "grpo", partial(run.reinforce, epoch, policy), leaves=["grpo", "policy"])
        try:
            yield update()  # lines 16 to 18
        except Diverged as error:
            return _finish(out, policy, t - 1, f"diverged in epoch {t}: {error}")
        updated = str(epoch.folder / "policy")  # line 19

        # On queries that nothing was trained on.
        yield epoch.once("test", partial(run.test, epoch, updated), leaves=["test"])
        yield epoch.once("metrics", partial(run.measure, epoch, updated, policy), leaves=["metrics.json"])
        if reason := run.gone_wrong(epoch, kept):
            return _finish(out, policy, t - 1, reason)
        policy, kept = updated, [*kept, epoch]
    _finish(out, policy, config.epochs, None)


def trains_next(out: Path) -> bool:
    """Is DPO the stage that comes next, the one that several processes may share?"""
    manifests = sorted(out.glob("epoch-*/manifest.json"))
    stages = read_json(manifests[-1]) if manifests else {}
    return "preferences" in stages and "dpo" not in stages


def read_result(out: Path) -> dict[str, Any] | None:
    """result.json with the metrics of all epochs so far; None where the run has not ended."""
    if not (out / RESULT).exists():
        return None
    return read_json(out / RESULT) | {"metrics": [read_json(path) for path in sorted(out.glob("epoch-*/metrics.json"))]}


def _manifest(parts: Parts, config: IRPOConfig, seed: int) -> dict[str, Any]:
    numbers = {name: value for name, value in asdict(config).items() if name not in ("algorithm", "dpo", "grpo")}
    weights = sorted(file for file in Path(parts.policy).glob("*") if file.suffix in (".safetensors", ".bin"))
    return {
        "version": 1,
        "config": numbers | {config.algorithm: asdict(config.learning)},
        "seed": seed,
        "reward": parts.reward.name,
        "feedback": parts.feedback.told() if parts.feedback else None,
        "click_model": parts.click_model.name,
        "encoder": parts.encoder,
        "policy": {file.name: file_sha256(file) for file in weights} or parts.policy,
        "world": {
            "queries_sha256": rows_sha256(parts.world.queries),
            "ads_sha256": rows_sha256(parts.world.ads.values()),
            "profiles_sha256": rows_sha256(parts.world.profiles.values()),
        },
    }


def _finish(out: Path, policy: str, epochs: int, stopped: str | None) -> None:
    where = Path(policy).relative_to(out).as_posix() if Path(policy).is_relative_to(out) else policy
    write_json(out / RESULT, {"policy": where, "epochs": epochs, "stopped": stopped})
