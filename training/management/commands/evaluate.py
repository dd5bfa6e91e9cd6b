"""`manage.py evaluate --out DIR`: policies on the same held-out questions and bids, with intervals."""

import json
from dataclasses import fields
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.dataset.artifacts import RunRefused
from training.dataset.encoder import EncoderError
from training.dataset.jsonl import DataError
from training.evaluating import Evaluation, evaluate
from training.management.bars import Bars
from training.simulating import CannotSimulate
from training.simulation.presets import PRESETS
from training.simulation.sampling import SamplingError

SHOWN = ("revenue", "expected_revenue", "reward", "ads_per_answer", "share_without_ads", "share_with_format_error",
         "share_on_topic", "expected_ctr")  # fmt: skip


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
            asked = self._asked(options)
            if options["threads"]:
                import torch

                torch.set_num_threads(options["threads"])
            found = evaluate(asked, out=options["out"], resume=options["resume"], progress=bars)
        except KeyboardInterrupt:
            raise CommandError("Stopped. The same command with --resume goes on from here.", returncode=130) from None
        except SamplingError as error:
            raise CommandError(f"{error}. The same command with --resume goes on from here.") from error
        except (CannotSimulate, DataError, RunRefused, EncoderError, ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            bars.close()
        self.stdout.write(json.dumps(found) if options["json"] else told(found))

    def _asked(self, options) -> Evaluation:
        policies = self._policies(options)
        named = [field.name for field in fields(Evaluation) if field.name != "policies"]
        given = {name: options[name] for name in named}
        return Evaluation(policies, **given) if policies else Evaluation(**given)

    def _policies(self, options):
        policies = {}
        for given in options["policy"]:
            name, sign, model = given.partition("=")
            if not (name and sign and model):
                raise CannotSimulate(f"--policy is NAME=MODEL, the name of letters and digits, not {given!r}.")
            if name in policies:
                raise CannotSimulate(f"--policy {name} was given twice.")
            policies[name] = model
        return policies


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
        lines.append(f"{name}: {swept['of']} by bid: {clicks}; rank correlation {_told(swept['interval'])}")
    return "\n".join(lines)


def _told(interval) -> str:
    return "-" if interval is None else f"{interval['mean']:.3f} ({interval['low']:.3f}, {interval['high']:.3f})"
