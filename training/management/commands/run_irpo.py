"""`manage.py run_irpo --preset lab --out DIR`: Algorithm 1, from the Ad-LLM that there is to one that earns more."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from django.conf import settings as site
from django.core.management.base import BaseCommand, CommandError

from training.dataset.artifacts import RunRefused
from training.dataset.encoder import CachedEncoder, EncoderError, HashEncoder, SentenceEncoder
from training.dataset.jsonl import DataError
from training.irpo.config import PRESETS, LoRA
from training.management.bars import Bars
from training.simulation.catalogues import SHOP, shop_ads
from training.simulation.making import make_world
from training.simulation.queries import BuiltinQueries
from training.simulation.sampling import SamplingError, ScriptedSampler
from training.simulation.user import BehaviouralUser
from training.simulation.user_llm import OpenAIUserLLM, UserLLMError
from training.simulation.world import World, read_ads, read_categories, read_queries, read_world

SIZES = ("epochs", "online_queries", "offline_queries", "test_queries")


class Command(BaseCommand):
    help = "Train an Ad-LLM by Iterative Reward-Preference Optimization (docs/irpo.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--preset", choices=PRESETS, default="lab")
        parser.add_argument("--out", type=Path, required=True, help="folder of the run")
        parser.add_argument("--model", help="folder or name of the Ad-LLM to begin with (default: the preset's)")
        parser.add_argument("--reward", choices=("context", "pctr", "oracle"), default="context")
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
            config = self._config(options)
        except ValueError as error:
            raise CommandError(str(error)) from None
        try:
            import torch
            from transformers.utils import logging

            from training.irpo.loop import irpo, read_result, trains_next
            from training.reward_model.fit import BiasedPCTR, FitError
            from training.reward_model.saving import ModelRefused
        except ImportError as error:
            raise CommandError(f"{error}. Install the extras: pip install -e .[lab,training]") from error
        logging.disable_progress_bar()
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        out, bars = options["out"], Bars(shown=not options["json"])
        try:
            apart = config.engine == "vllm" or torch.cuda.is_available() or options["launch"]
            if apart and not options["one_stage"]:
                self._apart(options, read_result, trains_next)
            else:
                stages = irpo(
                    parts=self._parts(config, options), config=config, seed=options["seed"], out=out,
                    resume=options["resume"], progress=bars,
                )  # fmt: skip
                for stage in stages:
                    if stage.ran and options["one_stage"]:
                        return
        except KeyboardInterrupt:
            raise CommandError("Stopped. The same command with --resume goes on from here.", returncode=130) from None
        except (SamplingError, UserLLMError) as error:
            raise CommandError(f"{error}. The same command with --resume goes on from here.") from error
        except BiasedPCTR as error:
            raise CommandError(f"{error}. Go on all the same: --allow-bias --resume") from error
        except (DataError, RunRefused, EncoderError, FitError, ModelRefused, OSError) as error:
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
        from training.irpo.shipping import NotShipped, ship

        try:
            own = site.LAB_MODEL_DIR / "custom_generate"
            ship(options["out"], out=options["ship"], generate=own if own.is_dir() else None)
        except (NotShipped, OSError) as error:
            raise CommandError(str(error)) from error
        if not options["json"]:
            self.stdout.write(f"Shipped: {options['ship']}. `make demo` and `manage.py seed_demo` register it.")

    def _config(self, options):
        if (options["feedback"] is None) != (options["feedback_share"] is None):
            raise ValueError("--feedback and --feedback-share go together: which file, and how much of the online data")
        if options["feedback"] and options["reward"] == "oracle":
            raise ValueError("--feedback teaches the reward model, and --reward oracle has none")
        if options["launch"] and options["algorithm"] == "grpo":
            raise ValueError(
                "--launch starts several processes of DPO, and --algorithm grpo trains in one: leave it out"
            )
        config, algorithm = PRESETS[options["preset"]], options["algorithm"]
        changes = {name: options[name] for name in SIZES if options[name] is not None}
        learning = {"learning_rate": options["learning_rate"]} if options["learning_rate"] is not None else {}
        if options["lora_rank"]:
            learning["lora"] = LoRA(rank=options["lora_rank"], alpha=2 * options["lora_rank"])
        return replace(
            config,
            **changes,
            **{algorithm: replace(getattr(config, algorithm), **learning)},
            algorithm=algorithm,
            engine=options["engine"] or config.engine,
            model=options["model"] or config.model,
            guided=options["guided"] or config.guided,
        )

    def _parts(self, config, options):
        from training.irpo.phases import Parts
        from training.irpo.reward_source import KnownClicks, LearnedClicks

        out = options["out"]
        world, categories = self._world(config, options)
        # Words alone tell the tiny preset's users what an ad is about: nothing has to be loaded.
        inner = HashEncoder() if config.name == "tiny" else SentenceEncoder()
        out.mkdir(parents=True, exist_ok=True)
        encoder = CachedEncoder(inner, file=out / "encoded.sqlite")
        user = self._click_model(options, encoder)
        if options["reward"] != "oracle":
            reward = LearnedClicks(options["reward"], encoder=encoder, allow_bias=options["allow_bias"])
        elif options["clicks"] == "behavioural":
            reward = KnownClicks(user)
        else:
            raise CommandError("--reward oracle needs a user whose chances are known: --clicks behavioural.")
        return Parts(
            world, categories, self._policy(config, options, world), self._sampler(config), user, reward,
            encoder.name, self._feedback(options, world),
        )  # fmt: skip

    def _feedback(self, options, world):
        from training.irpo.mixing import real_feedback

        if options["feedback"] is None:
            return None
        return real_feedback(options["feedback"], share=options["feedback_share"], known=world.ads)

    def _world(self, config, options) -> tuple[World, dict[str, str | None]]:
        """The world named, one with the files named, or one made in the run's folder; and its queries' categories."""
        if options["world"]:
            if options["ads"] or options["queries"]:
                raise CommandError("--world brings its own ads and questions: leave out --ads and --queries.")
            return read_world(options["world"]), read_categories(options["world"])
        ads_file, seed = options["ads"], options["seed"]
        ads = read_ads(ads_file) if ads_file else shop_ads()
        if options["queries"]:
            profiles, queries, _ = read_queries(options["queries"], seed=seed)
            return World({ad.id: ad for ad in ads}, {profile.id: profile for profile in profiles}, queries), {}
        if config.name == "tiny" and not ads_file:
            ads = ads[:10]
        folder = options["out"] / "world"
        make_world(
            out=folder, source=BuiltinQueries(seed=seed), ads=ads, ads_from=(ads_file or SHOP).name, seed=seed,
            num_profiles=config.num_profiles, num_queries=config.num_queries,
        )  # fmt: skip
        return read_world(folder), read_categories(folder)

    def _policy(self, config, options, world) -> str:
        if config.model:
            return config.model
        if config.name == "tiny":
            from training.irpo.tiny import make_tiny_policy
            from training.simulation.bids import draw_auction
            from training.simulation.environment import request_for

            query = world.queries[0]
            auction = draw_auction(query=query, ads=world.ads, seed=0, phase="tokenizer", shuffle=False)
            folder = options["out"] / "tiny-policy"
            make_tiny_policy(folder, texts=[request_for(world, query, auction).messages[0]["content"]])
            return str(folder)
        if not (site.LAB_MODEL_DIR / "model.safetensors").exists():
            raise CommandError(f"There is no model in {site.LAB_MODEL_DIR}. Build one: manage.py build_lab_model")
        return str(site.LAB_MODEL_DIR)

    def _sampler(self, config):
        if config.engine == "scripted":
            from training.irpo.tiny import write_ads

            return lambda policy: ScriptedSampler(write_ads)
        if config.engine == "vllm":
            from training.simulation.vllm_sampler import VLLMSampler

            return lambda policy: VLLMSampler(policy, context=config.sampling.context)
        from training.simulation.transformers_sampler import TransformersSampler

        return TransformersSampler

    def _click_model(self, options, encoder):
        if options["clicks"] == "behavioural":
            return BehaviouralUser(encoder)
        from training.simulation.judge import UserLLMJudge

        model, base_url = options["user_llm"], options["user_llm_base_url"]
        if not model or not base_url:
            raise CommandError("--clicks user-llm needs --user-llm and --user-llm-base-url.")
        key = os.environ.get("USER_LLM_API_KEY", "")
        return UserLLMJudge(OpenAIUserLLM(base_url=base_url, model=model, api_key=key))

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
