"""`manage.py simulate --preset lab --out DIR`: questions, answers with ads, clicks, and what they amount to."""

import json
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.dataset.artifacts import RunRefused
from training.dataset.encoder import EncoderError
from training.dataset.jsonl import DataError
from training.management.bars import Bars
from training.simulating import CannotSimulate, Simulation, prepare_world, run_simulation
from training.simulation.environment import read_timing
from training.simulation.presets import PRESETS
from training.simulation.sampling import SamplingError
from training.simulation.summary import told
from training.simulation.user_llm import UserLLMError


def number_or_file(text: str) -> int | Path:
    """`--queries 300` or `--queries mine.jsonl`."""
    return int(text) if text.lstrip("-").isdigit() else Path(text)


class Command(BaseCommand):
    help = "Run the simulation environment and print a summary (docs/simulation.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--preset", choices=PRESETS, default="lab")
        parser.add_argument("--out", type=Path, required=True, help="folder of the run")
        parser.add_argument(
            "--queries", type=number_or_file, action="append", default=[], metavar="N|FILE",
            help="how many, drawn from the world by seed; or questions of your own, JSON Lines; may be given twice",
        )  # fmt: skip
        parser.add_argument("--samples", type=int, help="answers to each query")
        parser.add_argument("--world", type=Path, help="folder of a world; otherwise one is made in --out")
        parser.add_argument("--ads", type=Path, help="ads of your own, JSON Lines; see import_ads")
        parser.add_argument("--engine", choices=("transformers", "openai", "vllm"), default="")
        parser.add_argument("--model", default="", help="folder or name of the Ad-LLM (default: the lab Ad-LLM)")
        parser.add_argument("--base-url", default="", help="of the openai engine; its key is read from AD_LLM_API_KEY")
        parser.add_argument("--guided", action="store_true", help="let the model write only true markers")
        parser.add_argument("--max-tokens", type=int, help="length limit of an answer")
        parser.add_argument("--clicks", choices=("behavioural", "user-llm"), default="")
        parser.add_argument("--user-llm", default="", help="the User-LLM's name; its key is read from USER_LLM_API_KEY")
        parser.add_argument("--user-llm-base-url", default="", help="its endpoint (default: that of --base-url)")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
        parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        out, bars = options["out"], Bars(shown=not options["json"])
        try:
            asked = self._asked(options)
            world = prepare_world(asked, out=out, tell=self.stderr.write)
            figures = run_simulation(asked, world=world, out=out, resume=options["resume"], progress=bars)
        except KeyboardInterrupt:
            raise CommandError("Stopped. The same command with --resume goes on from here.", returncode=130) from None
        except (SamplingError, UserLLMError) as error:
            raise CommandError(f"{error}. The same command with --resume goes on from here.") from error
        except (CannotSimulate, DataError, RunRefused, EncoderError, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            bars.close()
        timing = read_timing(out)
        if options["json"]:
            self.stdout.write(json.dumps(figures | {"timing": timing}, ensure_ascii=False))
        else:
            self.stdout.write(told(figures, timing))

    def _asked(self, options) -> Simulation:
        if options["threads"] is not None:
            if options["threads"] < 1:
                raise CannotSimulate("--threads must be at least 1.")
            import torch

            torch.set_num_threads(options["threads"])
        given = options["queries"]
        numbers, files = ([each for each in given if isinstance(each, kind)] for kind in (int, Path))
        if len(numbers) > 1 or len(files) > 1:
            raise CannotSimulate("--queries takes one number and one file.")
        names = ("preset", "seed", "samples", "max_tokens", "world", "ads", "engine", "model", "base_url")
        names += ("clicks", "user_llm", "user_llm_base_url", "guided")
        return Simulation(
            queries=numbers[0] if numbers else None,
            queries_file=files[0] if files else None,
            **{name: options[name] for name in names},
        )
