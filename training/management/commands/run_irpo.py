"""`manage.py run_irpo --preset lab --out DIR`: Algorithm 1, from the Ad-LLM that there is to one that earns more."""

import json
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

from django.conf import settings as site
from django.core.management.base import BaseCommand, CommandError

from training.dataset.artifacts import RunRefused
from training.dataset.encoder import EncoderError
from training.dataset.jsonl import DataError
from training.improving import REWARDS, SIZES, CannotImprove, Improvement, improve, ship_policy
from training.irpo.config import PRESETS
from training.management.bars import Bars
from training.simulation.sampling import SamplingError
from training.simulation.user_llm import UserLLMError

NAMES = ("model", "engine", "user_llm", "user_llm_base_url")  # "" leaves these to the preset


class Command(BaseCommand):
    help = "Train an Ad-LLM by Iterative Reward-Preference Optimization (docs/irpo.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--preset", choices=PRESETS, default="lab")
        parser.add_argument("--out", type=Path, required=True, help="folder of the run")
        parser.add_argument("--model", help="folder or name of the Ad-LLM to begin with (default: the preset's)")
        parser.add_argument("--reward", choices=REWARDS, default=REWARDS[0])
        parser.add_argument("--algorithm", choices=("dpo", "grpo"), default="dpo")
        parser.add_argument("--engine", choices=("transformers", "vllm", "scripted"), help="what samples answers")
        for name in SIZES:
            parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="instead of the preset's number")
        parser.add_argument("--learning-rate", type=float, help="of --algorithm, instead of the preset's")
        parser.add_argument("--lora-rank", type=int, help="train adapters of this rank instead of every weight")
        parser.add_argument("--world", type=Path, help="folder of a world; otherwise one is made in --out")
        parser.add_argument("--ads", type=Path, help="ads of your own, JSON Lines; see import_ads")
        parser.add_argument("--queries", type=Path, help="questions of your own, JSON Lines")
        parser.add_argument("--clicks", choices=("behavioural", "user-llm"), default="behavioural")
        parser.add_argument("--user-llm", help="name of the User-LLM; its key is read from USER_LLM_API_KEY")
        parser.add_argument("--user-llm-base-url", help="its endpoint")
        parser.add_argument("--feedback", type=Path, help="real answers and clicks, of export_feedback")
        parser.add_argument("--feedback-share", type=float, help="how much of the online data they shall be, 0 to 1")
        parser.add_argument("--allow-bias", action="store_true", help="go on with a biased pCTR (Assumption 4.1)")
        parser.add_argument("--guided", action="store_true", help="let the model write only true markers")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--threads", type=int, help="CPU threads (default: all); keep it for equal bits")
        parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
        parser.add_argument("--one-stage", action="store_true", help="finish one stage of the run and stop")
        parser.add_argument("--launch", default="", help="starts DPO on several GPUs: 'torchrun --nproc-per-node 4'")
        parser.add_argument(
            "--ship", type=Path, nargs="?", const=site.LAB_IRPO_MODEL_DIR, metavar="DIR",
            help="afterwards, write the policy to keep to DIR (default: the site's second built-in model)",
        )  # fmt: skip
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        try:
            asked = _asked(options)
        except CannotImprove as error:
            raise CommandError(str(error)) from None
        try:
            import torch
            from transformers.utils import logging

            from training.irpo.loop import read_result, trains_next
            from training.reward_model.fit import BiasedPCTR, FitError
            from training.reward_model.saving import ModelRefused
        except ImportError as error:
            raise CommandError(f"{error}. Install the extras: pip install -e .[lab,training]") from error
        logging.disable_progress_bar()
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        out, bars = options["out"], Bars(shown=not options["json"])
        try:
            apart = asked.config.engine == "vllm" or torch.cuda.is_available() or options["launch"]
            if apart and not options["one_stage"]:
                self._apart(options, read_result, trains_next)
            else:
                for stage in improve(asked, out=out, resume=options["resume"], progress=bars):
                    if stage.ran and options["one_stage"]:
                        return
        except KeyboardInterrupt:
            raise CommandError("Stopped. The same command with --resume goes on from here.", returncode=130) from None
        except (SamplingError, UserLLMError) as error:
            raise CommandError(f"{error}. The same command with --resume goes on from here.") from error
        except BiasedPCTR as error:
            raise CommandError(f"{error}. Go on all the same: --allow-bias --resume") from error
        except (CannotImprove, DataError, RunRefused, EncoderError, FitError, ModelRefused, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            bars.close()
        result = read_result(out)
        self.stdout.write(json.dumps(result) if options["json"] else told(result, out))
        if options["ship"]:
            self._ship(options)
        elif result["epochs"] and not options["json"]:
            self.stdout.write("To put it beside the site's own model: the same command with --resume --ship")

    def _ship(self, options):
        from training.irpo.shipping import NotShipped

        try:
            ship_policy(options["out"], out=options["ship"])
        except (NotShipped, OSError) as error:
            raise CommandError(str(error)) from error
        if not options["json"]:
            self.stdout.write(f"Shipped: {options['ship']}. `make demo` and `manage.py seed_demo` register it.")

    def _apart(self, options, read_result, trains_next):
        """Every stage in a process of its own, so that a GPU's memory comes back between sampling and training."""
        arguments = ["--one-stage"]
        for name in ("preset", "out", "model", "reward", "algorithm", "engine", *SIZES, "learning_rate", "lora_rank",
                     "world", "ads", "queries", "clicks", "user_llm", "user_llm_base_url", "feedback", "feedback_share",
                     "seed", "threads"):  # fmt: skip
            if options[name] is not None:
                arguments += [f"--{name.replace('_', '-')}", str(options[name])]
        arguments += [f"--{name.replace('_', '-')}" for name in ("allow_bias", "guided", "json") if options[name]]
        resume = options["resume"]
        while resume is False or read_result(options["out"]) is None:
            starter = shlex.split(options["launch"]) if options["launch"] and trains_next(options["out"]) else []
            command = [*(starter or [sys.executable]), str(site.BASE_DIR / "manage.py"), "run_irpo", *arguments]
            ran = subprocess.run([*command, *["--resume"] * resume], stdout=subprocess.DEVNULL)
            if ran.returncode:
                raise CommandError("The stage did not end; what it said stands above.", returncode=ran.returncode)
            resume = True


def _asked(options) -> Improvement:
    if options["launch"] and options["algorithm"] == "grpo":
        raise CannotImprove(
            "--launch starts several processes of DPO, and --algorithm grpo trains in one: leave it out"
        )
    named = {**options, "queries_file": options["queries"]}
    given = {field.name: named[field.name] for field in fields(Improvement)}
    return Improvement(**{name: "" if given[name] is None and name in NAMES else given[name] for name in given})


def told(result, out: Path) -> str:
    """The epochs as a table, and which policy to keep."""
    columns = {
        "revenue": "revenue", "reward": "reward", "ads_per_answer": "ads", "share_with_format_error": "errors",
        "share_without_ads": "no ads", "share_on_topic": "on topic",
    }  # fmt: skip
    lines = ["epoch  " + "".join(f"{title:>10}" for title in columns.values()) + "     pairs  accuracy        KL"]
    for metrics in result["metrics"]:
        figures = [metrics["test"][name] for name in columns]
        if metrics["epoch"]:
            pairs, dpo = metrics.get("pairs", {}), metrics.get("dpo", {})  # online RL has neither
            figures += [pairs.get("share"), dpo.get("accuracy"), metrics["kl"]["kl_to_start"]]
        told = "".join(f"{'-' if figure is None else format(figure, '.3f'):>10}" for figure in figures)
        lines.append(f"{metrics['epoch']:>5}  {told}")
    if result["stopped"]:
        lines.append(f"Stopped early: {result['stopped']}.")
    lines.append(f"The policy to keep: {out / result['policy']}")
    return "\n".join(lines)
