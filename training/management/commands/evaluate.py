"""`manage.py evaluate --out DIR`: policies on the same held-out questions and bids, with intervals."""

import json
from pathlib import Path

from django.conf import settings as site
from django.core.management.base import BaseCommand, CommandError

from training.dataset.artifacts import RunRefused, write_json
from training.dataset.encoder import EncoderError
from training.dataset.jsonl import DataError
from training.evaluation.monotonicity import sweep
from training.evaluation.paired import compare, outcomes
from training.management.bars import Bars
from training.simulating import CannotSimulate, Simulation, click_model_of, prepare_world, sampler_of
from training.simulation.environment import RunSettings, simulate
from training.simulation.presets import PRESETS
from training.simulation.sampling import SamplingError, SamplingSettings
from training.simulation.user import HeldOutUser
from training.simulation.world import choose, read_categories

SHOWN = ("revenue", "expected_revenue", "reward", "ads_per_answer", "share_without_ads", "share_with_format_error",
         "share_on_topic", "expected_ctr")  # fmt: skip
RESULT = "result.json"


class Command(BaseCommand):
    help = "Compare Ad-LLMs on held-out questions, with paired bootstrap intervals, and sweep bids (docs/irpo.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument(
            "--policy", action="append", default=[], metavar="NAME=MODEL",
            help="a folder or published model; the first is what others are compared with (default: the built-in ones)",
        )  # fmt: skip
        parser.add_argument(
            "--guided", action="append", default=[], metavar="NAME", help="a policy that can write only true markers"
        )
        parser.add_argument("--out", type=Path, required=True, help="folder of the evaluation")
        parser.add_argument("--preset", choices=PRESETS, default="lab", help="whose world is made without --world")
        parser.add_argument("--world", type=Path, help="folder of a world; otherwise one is made in --out")
        parser.add_argument("--questions", type=int, default=300, help="of its test split, for each seed")
        parser.add_argument("--samples", type=int, default=1, help="answers to each")
        parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of questions, bids and answers")
        parser.add_argument("--sweep", type=int, default=0, help="questions in which one ad's bid goes from 1 to 100")
        parser.add_argument("--max-tokens", type=int, default=400)
        parser.add_argument("--clicks", choices=("behavioural", "held-out"), default="behavioural")
        parser.add_argument("--engine", choices=("transformers", "vllm"), default="")
        parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
        parser.add_argument("--resume", action="store_true", help="go on with the evaluation in --out")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        bars = Bars(shown=not options["json"])
        try:
            found = self._evaluate(options, bars)
        except KeyboardInterrupt:
            raise CommandError("Stopped. The same command with --resume goes on from here.", returncode=130) from None
        except SamplingError as error:
            raise CommandError(f"{error}. The same command with --resume goes on from here.") from error
        except (CannotSimulate, DataError, RunRefused, EncoderError, ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            bars.close()
        write_json(options["out"] / RESULT, found)
        self.stdout.write(json.dumps(found) if options["json"] else told(found))

    def _evaluate(self, options, bars):
        policies = self._policies(options)
        if min(options["questions"], options["samples"], options["max_tokens"]) < 1 or options["sweep"] < 0:
            raise CannotSimulate("--questions, --samples and --max-tokens must be at least 1, --sweep not negative.")
        if options["threads"]:
            import torch

            torch.set_num_threads(options["threads"])
        asked = Simulation(preset=options["preset"], world=options["world"], engine=options["engine"])
        out, seeds = options["out"], list(dict.fromkeys(options["seeds"]))
        world = prepare_world(asked, out=out)
        categories = read_categories(options["world"] or out / "world")
        tests = [query for query in world.queries if query.split == "test"]
        if not tests:
            raise DataError("this world has no test questions")
        click_model = HeldOutUser() if options["clicks"] == "held-out" else click_model_of(asked)[0]
        answered, sweeps = {}, {}
        for name, model in policies.items():
            sampler = sampler_of(Simulation(engine=options["engine"], model=model), context=SamplingSettings.context)
            answered[name] = []
            for seed in seeds:
                folder = out / f"seed-{seed}" / name
                queries = choose(tests, count=options["questions"], seed=f"evaluate/{seed}")
                simulate(
                    world=world, queries=queries, sampler=sampler, click_model=click_model,
                    settings=self._settings(options, name, f"evaluate/{seed}", options["samples"]), out=folder,
                    resume=options["resume"], progress=_named(bars, f"{name}, seed {seed}"),
                )  # fmt: skip
                answered[name] += outcomes(folder, world=world, queries=queries, categories=categories, seed=seed)
            if options["sweep"]:
                sweeps[name] = sweep(
                    world=world, queries=choose(tests, count=options["sweep"], seed="sweep"), categories=categories,
                    sampler=sampler, click_model=click_model, settings=self._settings(options, name, "sweep", 1),
                    out=out / "sweep" / name, progress=_named(bars, f"{name}, bids"),
                )  # fmt: skip
            del sampler
        return {
            "questions": options["questions"], "seeds": seeds, "clicks": click_model.name,
            "models": {name: {"model": model, "guided": name in options["guided"]} for name, model in policies.items()},
            **compare(answered),
            "sweep": sweeps or None,
        }  # fmt: skip

    def _settings(self, options, name, key, samples):
        sampling = SamplingSettings(max_tokens=options["max_tokens"], seed=key)
        return RunSettings(samples, seed=key, phase=key, sampling=sampling, guided=name in options["guided"])

    def _policies(self, options):
        policies = {}
        for given in options["policy"]:
            name, sign, model = given.partition("=")
            if not (name and sign and model) or not name.replace("-", "").replace("_", "").isalnum():
                raise CannotSimulate(f"--policy is NAME=MODEL, the name of letters and digits, not {given!r}.")
            if name in policies:
                raise CannotSimulate(f"--policy {name} was given twice.")
            policies[name] = model
        if not policies:
            there = {"base": site.LAB_MODEL_DIR, "irpo": site.LAB_IRPO_MODEL_DIR}
            policies = {name: str(folder) for name, folder in there.items() if (folder / "config.json").exists()}
        if unknown := [name for name in options["guided"] if name not in policies]:
            raise CannotSimulate(f"--guided names {unknown[0]}, and there is no such --policy.")
        if not policies:
            raise CannotSimulate("There is nothing to evaluate: name a --policy.")
        return policies


def _named(bars, name):
    return lambda stage, done, total, tokens: bars(f"{name}: {stage}", done, total, tokens)


def told(found) -> str:
    """Figures down, policies across, each with its interval; then what the others are more than the first, and bids."""
    names = list(found["policies"])
    lines = [f"{found['answers']} answers to {found['users']} users, clicks of the {found['clicks']} user"]
    lines.append(f"{'':<26}" + "".join(f"{name:>28}" for name in names))
    for figure in SHOWN:
        row = [_told(found["policies"][name][figure]) for name in names]
        lines.append(f"{figure:<26}" + "".join(f"{cell:>28}" for cell in row))
    for name, figures in found["against"]["policies"].items():
        revenue = "expected_revenue" if figures["expected_revenue"]["times"] else "revenue"
        lines.append(f"{name}: {revenue} {_told(figures[revenue]['times'])} times that of {found['against']['first']}")
    for name, swept in (found["sweep"] or {}).items():
        clicks = ", ".join(f"{row['bid']}: {row[swept['of']]:.3f}" for row in swept["bids"])
        lines.append(f"{name}: {swept['of']} by bid: {clicks}; rank correlation {swept['rank_correlation']}")
    return "\n".join(lines)


def _told(interval) -> str:
    return "-" if interval is None else f"{interval['mean']:.3f} ({interval['low']:.3f}, {interval['high']:.3f})"
