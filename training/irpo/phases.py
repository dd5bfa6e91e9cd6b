"""The work of the stages of Algorithm 1: from the files of one stage to those of the next. The order is the loop's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, starmap
from pathlib import Path
from typing import Any

from training.dataset import jsonl
from training.dataset.artifacts import read_json, write_json
from training.dataset.jsonl import DataError
from training.dataset.online import read_online
from training.dataset.placement import without_ads
from training.dataset.records import Auction, Exposure, PreferenceGroup, Query, Response, ScoredResponse
from training.irpo import dpo, grpo, measuring, stopping
from training.irpo.config import IRPOConfig
from training.irpo.log_probs import Answers, tokenize
from training.irpo.mixing import RealFeedback
from training.irpo.preferences import may_win, pair_yield, prefer
from training.irpo.reward_source import REPORT, RewardSource
from training.irpo.stages import Epoch
from training.reward_model.reward import Scored, score_many
from training.simulation.bids import draw_auction
from training.simulation.clicks import ClickModel
from training.simulation.environment import RunSettings, answer, groups_of, read_exposures, request_for, simulate
from training.simulation.sampling import Sampler, SamplingSettings
from training.simulation.world import World, choose

Progress = Callable[[str, int, int], None]  # what, done, in all
FEEDBACK = "feedback.json"


@dataclass(frozen=True)
class Parts:
    """What a run is put together from. `policy` is theta_0: a folder, or the name of a published model."""

    world: World
    categories: Mapping[str, str | None]  # of the queries, by id, for reports; empty where unknown
    policy: str
    sampler: Callable[[str], Sampler]  # of a policy
    click_model: ClickModel
    reward: RewardSource
    encoder: str  # what user and reward model read texts with, by name
    feedback: RealFeedback | None = None  # real clicks beside the simulated ones


class Phases:
    """Each of its methods is the work of one stage: it reads files of the run, and writes others."""

    def __init__(self, parts: Parts, config: IRPOConfig, seed: int, progress: Progress) -> None:
        self._parts, self._config, self._seed, self._progress = parts, config, seed, progress
        self._train = [query for query in parts.world.queries if query.split == "train"]
        self._test = choose(
            [query for query in parts.world.queries if query.split == "test"],
            count=config.test_queries, seed=f"{seed}/test",
        )  # fmt: skip
        if not self._train or not self._test:
            raise DataError("the world needs questions of both splits: to train, and to test")

    def collect(self, epoch: Epoch, policy: str) -> None:
        """Line 3: deploy the policy and construct D_on, under bids of this phase."""
        phase = _phase(epoch, "online")
        simulate(
            world=self._parts.world, queries=self._queries(phase, self._config.online_queries),
            sampler=self._parts.sampler(policy), click_model=self._parts.click_model,
            settings=self._settings(phase, self._config.online_samples), out=epoch.folder / "online", resume=True,
            progress=self._four(epoch, "online"),
        )  # fmt: skip

    def update_reward(self, epoch: Epoch, last: Path | None) -> None:
        """Lines 4 to 8: psi_t from psi_{t-1} and D_on, real feedback among it where there is some.

        As long as D_on holds all that psi_{t-1} learned from, psi_t is fitted anew, which comes closer (docs/irpo.md).
        """
        self._progress(self._named(epoch, "reward model"), 0, 1)
        world, real, ads = self._parts.world, self._parts.feedback, self._parts.world.ads
        queries = {query.id: query for query in self._train}
        samples = [
            sample
            for one in epoch.latest(self._config.online_epochs)
            for sample in read_online(one.folder / "online", queries=queries, profiles=world.profiles)
        ]
        if real:
            drawn = real.drawn(len(samples), seed=f"{self._seed}/{_phase(epoch, 'feedback')}")
            write_json(epoch.folder / FEEDBACK, real.report(drawn, simulated=len(samples)))
            samples, ads = samples + drawn, {**real.ads, **ads}
        start = last if epoch.number > self._config.online_epochs else None
        self._parts.reward.update(samples, ads=ads, seed=self._seed, start=start, out=epoch.folder / "pctr")
        self._progress(self._named(epoch, "reward model"), 1, 1)

    def ask(self, epoch: Epoch) -> None:
        """Lines 10 and 11: D_off, under fresh bids. Its answers are written while the policy learns."""
        phase, out = _phase(epoch, "offline"), epoch.folder / "offline"
        out.mkdir(exist_ok=True)
        key, ads = self._settings(phase, 1).seed, self._parts.world.ads
        queries = self._queries(phase, self._config.offline_queries)
        drawn = (draw_auction(query=query, ads=ads, seed=key, phase=phase, shuffle=True) for query in queries)
        jsonl.write(out / "auctions.jsonl", drawn)

    def answer(self, epoch: Epoch, policy: str) -> None:
        """Lines 10 to 12: D_off, and M answers to each of its queries, under fresh bids; each auction in its folder."""
        config, sampler = self._config, self._parts.sampler(policy)
        queries = self._queries(_phase(epoch, "offline"), config.offline_queries)
        for number, out in self._auctions(epoch):
            out.mkdir(parents=True, exist_ok=True)
            answer(
                world=self._parts.world, queries=queries, sampler=sampler, out=out,
                settings=self._settings(_phase(epoch, f"offline/{number}"), config.samples, config.exploring),
                progress=self._four(epoch, f"offline {number}"),
            )  # fmt: skip

    def prefer(self, epoch: Epoch) -> None:
        """Lines 13 to 15: rewards by Eq. 8, the winner and the losers of each auction among all answers to its query.

        Users never see bids, so what an answer is worth under other bids is known as well (docs/irpo.md).
        """
        config, world = self._config, self._parts.world
        queries = self._queries(_phase(epoch, "offline"), config.offline_queries)
        asked = [  # by auction, then by query, then by answer
            list(groups_of(read_exposures(out, world=world, queries=queries, samples=config.samples), config.samples))
            for _, out in self._auctions(epoch)
        ]
        exposures = [
            replace(exposure, auction=mine[0].auction, response=replace(exposure.response, sample=number))
            for auctions in zip(*asked, strict=True)  # of one query
            for mine in auctions
            for number, exposure in enumerate(chain.from_iterable(auctions))
        ]
        predictor = self._parts.reward.load(epoch.folder / "pctr")
        rewards = score_many(  # line 13
            exposures, ads=world.ads, predictor=predictor, penalty_weight=config.penalty_weight
        )
        scored = groups_of(starmap(_scored, zip(exposures, rewards, strict=True)), config.compared)
        auctions = [mine[0].auction for of_query in zip(*asked, strict=True) for mine in of_query]
        answers = [[*rows, *self._outside(rows, auction)] for rows, auction in zip(scored, auctions, strict=True)]
        preferred = [
            prefer(rows, auction=auction, threshold=config.pair_threshold)
            for rows, auction in zip(answers, auctions, strict=True)
        ]
        groups = [group for group in preferred if group]  # lines 14, 15
        jsonl.write(epoch.folder / "scored.jsonl", chain.from_iterable(answers))
        jsonl.write(epoch.folder / "groups.jsonl", groups)
        write_json(epoch.folder / "yield.json", asdict(pair_yield(answers, groups)))

    def _outside(self, rows: Sequence[ScoredResponse], auction: Auction) -> list[ScoredResponse]:
        """The best answer less its ads, worth nothing and costing nothing; none where such an answer was written."""
        able = [row for row in rows if may_win(row) and not row.format_error]
        if not self._config.outside_option or not all(row.n_ads for row in able):
            return []
        best = max(able, key=lambda row: row.reward, default=None)
        text = best and without_ads(best.text, auction.candidates(self._parts.world.ads))
        return [replace(best, sample=len(rows), text=text, reward=0.0, n_ads=0)] if best and text else []

    def optimize(self, epoch: Epoch, policy: str) -> None:
        """Lines 16 to 18: Eq. 6, with the policy as it is now for a reference."""
        dpo.train(
            policy=policy, tokenized=lambda tokenizer: self._tokenized(epoch, tokenizer), config=self._config.dpo,
            seed=_phase(epoch, str(self._seed)), work=epoch.folder / "dpo", out=epoch.folder / "policy",
            progress=lambda stage, done, total: self._progress(self._named(epoch, stage), done, total),
        )  # fmt: skip

    def reinforce(self, epoch: Epoch, policy: str) -> None:
        """Online RL in place of lines 12 to 18: the same prompts, the same reward, answers of the policy as it is."""
        config, world = self._config, self._parts.world
        queries = self._queries(_phase(epoch, "offline"), config.offline_queries)
        drawn = list(jsonl.read(Auction, epoch.folder / "offline" / "auctions.jsonl"))
        predictor = self._parts.reward.load(epoch.folder / "pctr")

        def score(written: Sequence[grpo.Written]) -> list[ScoredResponse]:
            exposures = []
            for one in written:
                query, answer = queries[one.number], one.answer
                response = Response(query.id, one.sample, answer.text, answer.tokens, answer.finished)
                exposures.append(Exposure(world.profiles[query.profile_id], query, drawn[one.number], response))
            rewards = score_many(exposures, ads=world.ads, predictor=predictor, penalty_weight=config.penalty_weight)
            return [_scored(exposure, reward) for exposure, reward in zip(exposures, rewards, strict=True)]

        grpo.train(
            policy=policy, score=score, samples=config.compared, config=config.grpo,
            requests=[
                request_for(world, query, auction, guided=self._config.guided)
                for query, auction in zip(queries, drawn, strict=True)
            ],
            sampling=self._settings(_phase(epoch, "grpo"), config.compared).sampling,
            seed=_phase(epoch, str(self._seed)), work=epoch.folder / "grpo", out=epoch.folder / "policy",
            sampler=self._parts.sampler(policy) if config.engine == "scripted" else None, vllm=config.engine == "vllm",
            progress=lambda stage, done, total: self._progress(self._named(epoch, stage), done, total),
        )  # fmt: skip

    def _tokenized(self, epoch: Epoch, tokenizer: Any) -> list[Answers]:
        world, queries = self._parts.world, {query.id: query for query in self._train}
        return [
            tokenize(
                tokenizer,
                query_id=group.query_id,
                messages=request_for(world, queries[group.query_id], group.auction).messages,
                texts=[(response.text, response.finished) for response in (group.winner, *group.losers)],
                context=self._config.dpo.context,
            )
            for group in jsonl.read(PreferenceGroup, epoch.folder / "groups.jsonl")
        ]

    def test(self, epoch: Epoch, policy: str) -> None:
        """One answer to each test query. Queries, bids and chances are the same in every epoch: a paired comparison."""
        simulate(
            world=self._parts.world, queries=self._test, sampler=self._parts.sampler(policy),
            click_model=self._parts.click_model, settings=self._settings("test", 1), out=epoch.folder / "test",
            resume=True, progress=self._four(epoch, "test"),
        )  # fmt: skip

    def measure(self, epoch: Epoch, policy: str, start: str) -> None:
        """metrics.json of one epoch: the policy, its reward model, its training."""
        folder, config = epoch.folder, self._config
        learned = not self._parts.reward.learns or (folder / "pctr").exists()
        found: dict[str, Any] = {"epoch": epoch.number}
        found["test"] = measuring.figures(
            folder=folder / "test", summary=read_json(folder / "test" / "summary.json"), world=self._parts.world,
            queries=self._test, categories=self._parts.categories,
            predictor=self._parts.reward.load(folder / "pctr") if learned else None,
        )  # fmt: skip
        if epoch.number:
            if self._parts.reward.learns:
                report = read_json(folder / "pctr" / REPORT)
                names = ("auc", "true_auc", "log_loss", "base_log_loss", "base_rate", "unbiased", "rows", "best_epoch")
                found["pctr"] = {name: report[name] for name in names}
                if self._parts.feedback:
                    found["pctr"]["feedback"] = read_json(folder / FEEDBACK)
            if config.algorithm == "dpo":
                found["pairs"] = read_json(folder / "yield.json")
                found["dpo"] = measuring.told_steps(measuring.read_steps(folder / "dpo" / "steps.jsonl"))
            else:
                found["grpo"] = grpo.told(grpo.read_steps(folder / "grpo" / "steps.jsonl"))
            self._progress(self._named(epoch, "kl"), 0, 1)
            found["kl"] = measuring.divergence(
                folder=folder / "test", policies={"policy": policy, "start": start, "base": self._parts.policy},
                world=self._parts.world, queries=self._test, count=config.kl_queries, config=config.learning,
            )  # fmt: skip
            self._progress(self._named(epoch, "kl"), 1, 1)
        write_json(folder / "metrics.json", found)

    def too_few_pairs(self, epoch: Epoch) -> str | None:
        """Why there is nothing to learn from in this epoch."""
        pairs = read_json(epoch.folder / "yield.json")
        if pairs["groups"] and pairs["share"] >= self._config.least_pair_share:
            return None
        found = f"{pairs['groups']} of {pairs['auctions']} auctions have winner and loser"
        return f"no pairs in epoch {epoch.number}: {found}"

    def gone_wrong(self, epoch: Epoch, kept: Sequence[Epoch]) -> str | None:
        """Why the policy of this epoch must not be kept, after those of the epochs `kept`, theta_0 first."""
        if found := stopping.not_a_number(read_json(epoch.folder / "metrics.json")):
            return f"diverged in epoch {epoch.number}: {found}"
        now, *before = (
            measuring.answered(
                folder=one.folder / "test", epoch=one.number, world=self._parts.world, queries=self._test
            )
            for one in (epoch, *kept)
        )
        return stopping.collapsed(now, before, epochs=self._config.epochs)

    def _auctions(self, epoch: Epoch) -> list[tuple[int, Path]]:
        """The auctions of each offline query, counted from 1, and their folders."""
        return [(number, epoch.folder / "offline" / str(number)) for number in range(1, self._config.auctions + 1)]

    def _queries(self, phase: str, count: int) -> list[Query]:
        return choose(self._train, count=count, seed=f"{self._seed}/{phase}")

    def _settings(self, phase: str, samples: int, sampling: SamplingSettings | None = None) -> RunSettings:
        key = f"{self._seed}/{phase}"
        sampling = replace(sampling or self._config.sampling, seed=key)
        return RunSettings(samples, seed=key, phase=phase, sampling=sampling, guided=self._config.guided)

    def _named(self, epoch: Epoch, stage: str) -> str:
        return f"epoch {epoch.number} of {self._config.epochs}: {stage}"

    def _four(self, epoch: Epoch, name: str) -> Callable[[str, int, int, int], None]:
        return lambda stage, done, total, tokens: self._progress(self._named(epoch, f"{name} {stage}"), done, total)


def _phase(epoch: Epoch, name: str) -> str:
    return f"{epoch.folder.name}/{name}"


def _scored(exposure: Exposure, scored: Scored) -> ScoredResponse:
    response = exposure.response
    return ScoredResponse(
        query_id=response.query_id,
        sample=response.sample,
        text=response.text,
        tokens=response.tokens,
        finished=response.finished,
        reward=scored.reward,
        n_ads=scored.n_ads,
        format_error=bool(scored.format_errors),
    )
