"""One evaluation from what was asked for to its figures: which policies, which questions, who clicks.

The command and the stage of a run both come here. Knows no request, no queue and no table; loads heavy libraries late.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings as site

from training.dataset.artifacts import RESULT, write_json
from training.simulating import CannotSimulate, Simulation, click_model_of, prepare_world, sampler_of

Progress = Callable[[str, int, int, int], None]  # what, rows done, rows in all, tokens written


def built_in() -> dict[str, str]:
    """The folders of the built-in Ad-LLM, and of what IRPO made of it, by name; those that are there."""
    there = {"base": site.LAB_MODEL_DIR, "irpo": site.LAB_IRPO_MODEL_DIR}
    return {name: str(folder) for name, folder in there.items() if (folder / "config.json").exists()}


@dataclass(frozen=True)
class Evaluation:
    """What is asked for. The first policy is what the others are compared with."""

    policies: Mapping[str, str] = field(default_factory=built_in)  # name: folder or published model
    guided: Sequence[str] = ()  # of these policies, those that can write only true markers
    preset: str = "lab"  # whose world is made without `world`
    world: Path | None = None  # a folder
    questions: int = 300  # of the test split, for each seed
    samples: int = 1
    seeds: Sequence[int] = (0, 1, 2)  # of questions, bids and answers
    sweep: int = 0  # questions in which one ad's bid goes from 1 to 100
    max_tokens: int = 400
    clicks: str = "behavioural"  # or "held-out"
    engine: str = ""

    def __post_init__(self) -> None:
        if min(self.questions, self.samples, self.max_tokens) < 1 or self.sweep < 0:
            raise CannotSimulate("--questions, --samples and --max-tokens must be at least 1, --sweep not negative.")
        if not self.policies:
            raise CannotSimulate("There is nothing to evaluate: name a --policy.")
        if not self.seeds:
            raise CannotSimulate("There is nothing to evaluate: name a seed.")
        for name in self.policies:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise CannotSimulate(f"--policy is NAME=MODEL, the name of letters and digits, not {name!r}.")
        if unknown := [name for name in self.guided if name not in self.policies]:
            raise CannotSimulate(f"--guided names {unknown[0]}, and there is no such --policy.")


def evaluate(
    asked: Evaluation, *, out: Path, resume: bool, progress: Progress = lambda what, done, total, tokens: None
) -> dict[str, Any]:
    """Ask every policy the same held-out questions under the same bids; returns the figures, which lie in `out` too.

    Every policy, seed and bid is a run of the simulation in a folder of its own, and goes on where it stopped. Raises
    CannotSimulate, and what a simulation raises.
    """
    from training.dataset.jsonl import DataError
    from training.evaluation.monotonicity import sweep
    from training.evaluation.paired import compare, outcomes
    from training.simulation.environment import RunSettings, simulate
    from training.simulation.sampling import SamplingSettings
    from training.simulation.user import HeldOutUser
    from training.simulation.world import choose, read_categories

    def settings(name: str, key: str, samples: int) -> RunSettings:
        sampling = SamplingSettings(max_tokens=asked.max_tokens, seed=key)
        return RunSettings(samples, seed=key, phase=key, sampling=sampling, guided=name in asked.guided)

    def named(title: str) -> Progress:
        return lambda step, done, total, tokens: progress(f"{title}: {step}", done, total, tokens)

    simulation = Simulation(preset=asked.preset, world=asked.world, engine=asked.engine)
    seeds = list(dict.fromkeys(asked.seeds))
    world = prepare_world(simulation, out=out)
    categories = read_categories(asked.world or out / "world")
    tests = [query for query in world.queries if query.split == "test"]
    if not tests:
        raise DataError("this world has no test questions")
    click_model = HeldOutUser() if asked.clicks == "held-out" else click_model_of(simulation)[0]
    answered: dict[str, list[Any]] = {}
    sweeps: dict[str, Any] = {}
    for name, model in asked.policies.items():
        sampler = sampler_of(Simulation(engine=asked.engine, model=model), context=SamplingSettings.context)
        answered[name] = []
        for seed in seeds:
            folder = out / f"seed-{seed}" / name
            queries = choose(tests, count=asked.questions, seed=f"evaluate/{seed}")
            simulate(
                world=world, queries=queries, sampler=sampler, click_model=click_model,
                settings=settings(name, f"evaluate/{seed}", asked.samples), out=folder, resume=resume,
                progress=named(f"{name}, seed {seed}"),
            )  # fmt: skip
            answered[name] += outcomes(folder, world=world, queries=queries, categories=categories, seed=seed)
        if asked.sweep:
            sweeps[name] = sweep(
                world=world, queries=choose(tests, count=asked.sweep, seed="sweep"), categories=categories,
                sampler=sampler, click_model=click_model, settings=settings(name, "sweep", 1),
                out=out / "sweep" / name, progress=named(f"{name}, bids"),
            )  # fmt: skip
        del sampler
    found = {
        "questions": asked.questions, "seeds": seeds, "clicks": click_model.name,
        "models": {name: {"model": model, "guided": name in asked.guided} for name, model in asked.policies.items()},
        **compare(answered),
        "sweep": sweeps or None,
    }  # fmt: skip
    write_json(out / RESULT, found)
    return found
