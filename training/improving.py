"""One run of IRPO from what was asked for to its stages: model, world, users and rewards.

The command and the stages of a run both come here. Knows no request, no queue and no table; loads heavy libraries late.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings as site

from training.irpo.config import PRESETS, IRPOConfig, LoRA

SIZES = ("epochs", "online_queries", "offline_queries", "test_queries")
ORACLE = "oracle"
REWARDS = ("context", "pctr", ORACLE)  # the default first


class CannotImprove(ValueError):
    """Something that was asked for is missing or makes no sense; says so in one sentence."""


@dataclass(frozen=True)
class Improvement:
    """What is asked for. None and "" leave it to the preset; without own files the built-in world is made."""

    preset: str = "lab"
    seed: int = 0
    model: str = ""  # the Ad-LLM to begin with
    reward: str = REWARDS[0]
    algorithm: str = "dpo"
    engine: str = ""
    epochs: int | None = None
    online_queries: int | None = None
    offline_queries: int | None = None
    test_queries: int | None = None
    learning_rate: float | None = None
    lora_rank: int | None = None
    world: Path | None = None  # a folder
    ads: Path | None = None
    queries_file: Path | None = None
    clicks: str = "behavioural"
    user_llm: str = ""
    user_llm_base_url: str = ""
    feedback: Path | None = None  # real answers and clicks
    feedback_share: float | None = None
    allow_bias: bool = False  # go on with a pCTR that breaks Assumption 4.1
    guided: bool = False  # only true markers can be written

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise CannotImprove(f"There is no preset {self.preset}: {', '.join(PRESETS)}.")
        if (self.feedback is None) != (self.feedback_share is None):
            raise CannotImprove(
                "--feedback and --feedback-share go together: which file, and how much of the online data"
            )
        if self.feedback and self.reward == ORACLE:
            raise CannotImprove("--feedback teaches the reward model, and --reward oracle has none")
        try:
            self.config  # noqa: B018 it checks its numbers
        except ValueError as error:
            raise CannotImprove(str(error)) from None

    @property
    def config(self) -> IRPOConfig:
        preset = PRESETS[self.preset]
        learning: dict[str, Any] = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        if self.lora_rank:
            learning["lora"] = LoRA(rank=self.lora_rank, alpha=2 * self.lora_rank)
        return replace(
            preset,
            **{name: getattr(self, name) for name in SIZES if getattr(self, name) is not None},
            **{self.algorithm: replace(getattr(preset, self.algorithm), **learning)},
            algorithm=self.algorithm,
            engine=self.engine or preset.engine,
            model=self.model or preset.model,
            guided=self.guided or preset.guided,
        )

    @property
    def learns_reward(self) -> bool:
        return self.reward != ORACLE

    @property
    def stages(self) -> list[tuple[int, str]]:
        """(epoch, stage) of a run that goes to its end, in order."""
        return self.config.stages(learns_reward=self.learns_reward)


def improve(asked: Improvement, *, out: Path, resume: bool, progress: Callable[[str, int, int], None]) -> Iterator[Any]:
    """The stages of the run in the folder `out`, each when it is finished: see training.irpo.loop.irpo, also for what
    is raised. Raises CannotImprove too.
    """
    try:
        from training.irpo.loop import irpo
    except ImportError as error:
        raise CannotImprove(f"{error}. Install the extras: pip install -e .[lab,training]") from error
    parts = parts_of(asked, out=out)
    yield from irpo(parts=parts, config=asked.config, seed=asked.seed, out=out, resume=resume, progress=progress)


def ship_policy(run: Path, *, out: Path) -> dict[str, Any]:
    """The policy of the finished run as a folder that the site can serve; returns its manifest. Raises NotShipped."""
    from training.irpo.shipping import ship

    own = site.LAB_MODEL_DIR / "custom_generate"
    return ship(run, out=out, generate=own if own.is_dir() else None)


def parts_of(asked: Improvement, *, out: Path) -> Any:
    """What `irpo` is put together from; a world that is made lies in `out`. Raises CannotImprove, DataError, ..."""
    from training.dataset.encoder import CachedEncoder, HashEncoder, SentenceEncoder
    from training.irpo.mixing import real_feedback
    from training.irpo.phases import Parts
    from training.irpo.reward_source import KnownClicks, LearnedClicks

    config = asked.config
    world, categories = _world(asked, config, out)
    # Words alone tell the tiny preset's users what an ad is about: nothing has to be loaded.
    inner = HashEncoder() if config.name == "tiny" else SentenceEncoder()
    out.mkdir(parents=True, exist_ok=True)
    encoder = CachedEncoder(inner, file=out / "encoded.sqlite")
    user = _click_model(asked, encoder)
    if asked.learns_reward:
        reward = LearnedClicks(asked.reward, encoder=encoder, allow_bias=asked.allow_bias)
    elif asked.clicks == "behavioural":
        reward = KnownClicks(user)
    else:
        raise CannotImprove("--reward oracle needs a user whose chances are known: --clicks behavioural.")
    feedback = asked.feedback and real_feedback(asked.feedback, share=asked.feedback_share, known=world.ads)
    return Parts(world, categories, _policy(config, world, out), _sampler(config), user, reward, encoder.name, feedback)


def _world(asked: Improvement, config: IRPOConfig, out: Path) -> tuple[Any, dict[str, str | None]]:
    """The world named, one with the files named, or one made in the run's folder; and its queries' categories."""
    from training.simulation.catalogues import SHOP, shop_ads
    from training.simulation.making import make_world
    from training.simulation.queries import BuiltinQueries
    from training.simulation.world import World, read_ads, read_categories, read_queries, read_world

    if asked.world:
        if asked.ads or asked.queries_file:
            raise CannotImprove("--world brings its own ads and questions: leave out --ads and --queries.")
        return read_world(asked.world), read_categories(asked.world)
    ads = read_ads(asked.ads) if asked.ads else shop_ads()
    if asked.queries_file:
        profiles, queries, _ = read_queries(asked.queries_file, seed=asked.seed)
        return World({ad.id: ad for ad in ads}, {profile.id: profile for profile in profiles}, queries), {}
    if config.name == "tiny" and not asked.ads:
        ads = ads[:10]
    folder = out / "world"
    make_world(
        out=folder, source=BuiltinQueries(seed=asked.seed), ads=ads, ads_from=(asked.ads or SHOP).name,
        seed=asked.seed, num_profiles=config.num_profiles, num_queries=config.num_queries,
    )  # fmt: skip
    return read_world(folder), read_categories(folder)


def _policy(config: IRPOConfig, world: Any, out: Path) -> str:
    if config.model:
        return config.model
    if config.name == "tiny":
        from training.irpo.tiny import make_tiny_policy
        from training.simulation.bids import draw_auction
        from training.simulation.environment import request_for

        query = world.queries[0]
        auction = draw_auction(query=query, ads=world.ads, seed=0, phase="tokenizer", shuffle=False)
        folder = out / "tiny-policy"
        make_tiny_policy(folder, texts=[request_for(world, query, auction).messages[0]["content"]])
        return str(folder)
    if not (site.LAB_MODEL_DIR / "model.safetensors").exists():
        raise CannotImprove(f"There is no model in {site.LAB_MODEL_DIR}. Build one: manage.py build_lab_model")
    return str(site.LAB_MODEL_DIR)


def _sampler(config: IRPOConfig) -> Callable[[str], Any]:
    if config.engine == "scripted":
        from training.irpo.tiny import write_ads
        from training.simulation.sampling import ScriptedSampler

        return lambda policy: ScriptedSampler(write_ads)
    if config.engine == "vllm":
        from training.simulation.vllm_sampler import VLLMSampler

        return lambda policy: VLLMSampler(policy, context=config.sampling.context)
    from training.simulation.transformers_sampler import TransformersSampler

    return TransformersSampler


def _click_model(asked: Improvement, encoder: Any) -> Any:
    if asked.clicks == "behavioural":
        from training.simulation.user import BehaviouralUser

        return BehaviouralUser(encoder)
    from training.simulation.judge import UserLLMJudge
    from training.simulation.user_llm import OpenAIUserLLM

    if not asked.user_llm or not asked.user_llm_base_url:
        raise CannotImprove("--clicks user-llm needs --user-llm and --user-llm-base-url.")
    key = os.environ.get("USER_LLM_API_KEY", "")
    return UserLLMJudge(OpenAIUserLLM(base_url=asked.user_llm_base_url, model=asked.user_llm, api_key=key))
