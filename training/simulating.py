"""One simulation from what was asked for to its figures: its world, its engine, and who clicks.

The command and the stages of a run both come here. Knows no request, no queue and no table; loads heavy libraries late.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from django.conf import settings as site

from training.simulation.presets import PRESETS, Preset
from training.simulation.sampling import Sampler
from training.simulation.world import World, choose, read_ads, read_queries, read_world


class CannotSimulate(ValueError):
    """Something that was asked for is missing or makes no sense; says so in one sentence."""


@dataclass(frozen=True)
class Simulation:
    """What is asked for. None and "" leave it to the preset; without own files the built-in world is made."""

    preset: str = "lab"
    seed: int = 0
    queries: int | None = None  # how many are drawn from the world
    samples: int | None = None
    max_tokens: int | None = None
    world: Path | None = None  # a folder
    ads: Path | None = None
    queries_file: Path | None = None
    engine: str = ""
    model: str = ""
    base_url: str = ""
    clicks: str = ""
    user_llm: str = ""
    user_llm_base_url: str = ""
    guided: bool = False  # only true markers can be written

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise CannotSimulate(f"There is no preset {self.preset}: {', '.join(PRESETS)}.")
        if self.world and (self.ads or self.queries_file):
            raise CannotSimulate("--world brings its own ads and questions: leave out --ads and --queries.")
        for name in ("queries", "samples", "max_tokens"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise CannotSimulate(f"--{name.replace('_', '-')} must be at least 1.")

    @property
    def size(self) -> Preset:
        return PRESETS[self.preset]


def prepare_world(asked: Simulation, *, out: Path, tell: Callable[[str], None] = lambda line: None) -> World:
    """The world named, one of the files named, or the built-in one, made in `out`/world. Raises DataError."""
    if asked.world:
        return read_world(asked.world)
    if asked.queries_file:
        ads = _ads(asked)
        profiles, queries, dropped = read_queries(asked.queries_file, seed=asked.seed)
        for reason, count in dropped.items():
            if count:
                tell(f"questions left out, {reason.replace('_', ' ')}: {count}")
        return World({ad.id: ad for ad in ads}, {profile.id: profile for profile in profiles}, queries)
    from training.simulation.catalogues import SHOP
    from training.simulation.making import make_world
    from training.simulation.queries import BuiltinQueries

    make_world(
        out=out / "world",
        source=BuiltinQueries(seed=asked.seed),
        ads=_ads(asked),
        ads_from=(asked.ads or SHOP).name,
        seed=asked.seed,
        num_profiles=asked.size.num_profiles,
        num_queries=asked.size.num_queries,
    )
    return read_world(out / "world")


def run_simulation(
    asked: Simulation,
    *,
    world: World,
    out: Path,
    resume: bool,
    progress: Callable[[str, int, int, int], None] = lambda stage, done, total, tokens: None,
) -> dict[str, Any]:
    """Answers, clicks and figures in the folder `out`; returns the figures. Raises CannotSimulate and as `simulate`."""
    from training.simulation.environment import RunSettings, simulate

    sampling = replace(asked.size.sampling, seed=asked.seed)
    if asked.max_tokens:
        sampling = replace(sampling, max_tokens=asked.max_tokens)
    click_model, about = click_model_of(asked)
    return simulate(
        world=world,
        queries=choose(world.queries, count=asked.queries or asked.size.queries, seed=asked.seed),
        sampler=sampler_of(asked, context=sampling.context),
        click_model=click_model,
        settings=RunSettings(
            samples=asked.samples or asked.size.samples, seed=asked.seed, sampling=sampling, guided=asked.guided
        ),
        out=out,
        resume=resume,
        about=about,
        progress=progress,
    )


def _ads(asked: Simulation) -> list:
    from training.simulation.catalogues import shop_ads

    return read_ads(asked.ads) if asked.ads else shop_ads()


def sampler_of(asked: Simulation, *, context: int) -> Sampler:
    """The engine and the Ad-LLM that are asked for. Raises CannotSimulate and SamplingError."""
    engine = asked.engine or asked.size.engine
    model = asked.model or asked.size.model or str(site.LAB_MODEL_DIR)
    if engine == "openai":
        from training.simulation.openai_sampler import OpenAISampler

        if not asked.base_url:
            raise CannotSimulate("--engine openai needs --base-url.")
        return OpenAISampler(base_url=asked.base_url, model=model, api_key=os.environ.get("AD_LLM_API_KEY", ""))
    if engine == "vllm":
        from training.simulation.vllm_sampler import VLLMSampler

        return VLLMSampler(model, context=context)
    if model == str(site.LAB_MODEL_DIR) and not (site.LAB_MODEL_DIR / "model.safetensors").exists():
        raise CannotSimulate(f"There is no model in {model}. Build one: manage.py build_lab_model")
    try:
        from training.simulation.transformers_sampler import TransformersSampler
    except ImportError as error:
        raise CannotSimulate(f"{error}. Install the lab extra: pip install -e .[lab]") from error
    return TransformersSampler(model)


def click_model_of(asked: Simulation) -> tuple[Any, dict[str, Any]]:
    """Who clicks, and what the manifest further says of it."""
    if (asked.clicks or asked.size.clicks) == "user-llm":
        from training.simulation.judge import UserLLMJudge
        from training.simulation.user_llm import OpenAIUserLLM

        model = asked.user_llm or asked.size.user_llm
        base_url = asked.user_llm_base_url or asked.base_url
        if not model or not base_url:
            raise CannotSimulate("--clicks user-llm needs --user-llm and --user-llm-base-url.")
        key = os.environ.get("USER_LLM_API_KEY", "")
        return UserLLMJudge(OpenAIUserLLM(base_url=base_url, model=model, api_key=key)), {}
    try:
        from training.dataset.encoder import CachedEncoder, EncoderError, SentenceEncoder
        from training.simulation.user import BehaviouralUser, UserParameters
    except ImportError as error:
        raise CannotSimulate(f"{error}. Install the training extra: pip install -e .[training]") from error
    try:
        encoder = SentenceEncoder()
    except EncoderError as error:
        raise CannotSimulate(str(error)) from error
    return BehaviouralUser(CachedEncoder(encoder)), {"encoder": encoder.name, "user": asdict(UserParameters())}
