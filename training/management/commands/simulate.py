"""`manage.py simulate --preset lab --out DIR`: questions, answers with ads, clicks, and what they amount to."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

from django.conf import settings as site
from django.core.management.base import BaseCommand, CommandError

from training.dataset.artifacts import RunRefused
from training.dataset.encoder import CachedEncoder, EncoderError, SentenceEncoder
from training.dataset.jsonl import DataError
from training.management.bars import Bars
from training.simulation.catalogues import SHOP, shop_ads
from training.simulation.environment import RunSettings, read_timing, simulate
from training.simulation.judge import UserLLMJudge
from training.simulation.making import make_world
from training.simulation.presets import PRESETS
from training.simulation.queries import BuiltinQueries
from training.simulation.sampling import SamplingError
from training.simulation.summary import told
from training.simulation.user import BehaviouralUser, UserParameters
from training.simulation.user_llm import OpenAIUserLLM, UserLLMError
from training.simulation.world import World, choose, read_ads, read_queries, read_world


class Command(BaseCommand):
    help = "Run the simulation environment and print a summary (docs/simulation.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--preset", choices=PRESETS, default="lab")
        parser.add_argument("--out", type=Path, required=True, help="folder of the run")
        parser.add_argument("--queries", type=int, help="how many, drawn from the world by seed")
        parser.add_argument("--samples", type=int, help="answers to each query")
        parser.add_argument("--world", type=Path, help="folder of a world; otherwise one is made in --out")
        parser.add_argument("--ads", type=Path, help="ads of your own, JSON Lines; see import_ads")
        parser.add_argument("--queries-file", type=Path, help="questions of your own, JSON Lines")
        parser.add_argument("--engine", choices=("transformers", "openai", "vllm"))
        parser.add_argument("--model", help="folder or name of the Ad-LLM (default: the lab Ad-LLM)")
        parser.add_argument("--base-url", help="of the openai engine; its key is read from AD_LLM_API_KEY")
        parser.add_argument("--max-tokens", type=int, help="length limit of an answer")
        parser.add_argument("--clicks", choices=("behavioural", "user-llm"))
        parser.add_argument("--user-llm", help="name of the User-LLM; its key is read from USER_LLM_API_KEY")
        parser.add_argument("--user-llm-base-url", help="its endpoint (default: that of --base-url)")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
        parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        preset = PRESETS[options["preset"]]
        for name in ("queries", "samples", "max_tokens", "threads"):
            if options[name] is not None and options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be at least 1.")
        if options["world"] and (options["ads"] or options["queries_file"]):
            raise CommandError("--world brings its own ads and questions: leave out --ads and --queries-file.")
        sampling = replace(preset.sampling, seed=options["seed"])
        if options["max_tokens"]:
            sampling = replace(sampling, max_tokens=options["max_tokens"])
        settings = RunSettings(samples=options["samples"] or preset.samples, seed=options["seed"], sampling=sampling)
        bars = Bars(shown=not options["json"])
        try:
            world = self._world(preset, options)
            queries = choose(world.queries, count=options["queries"] or preset.queries, seed=options["seed"])
            figures = simulate(
                world=world,
                queries=queries,
                sampler=self._sampler(preset, options, sampling.context),
                click_model=self._click_model(preset, options),
                settings=settings,
                out=options["out"],
                resume=options["resume"],
                about=self._about(options, preset),
                progress=bars,
            )
        except KeyboardInterrupt:
            raise CommandError("Stopped. The same command with --resume goes on from here.", returncode=130) from None
        except (SamplingError, UserLLMError) as error:
            raise CommandError(f"{error}. The same command with --resume goes on from here.") from error
        except (DataError, RunRefused, EncoderError, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            bars.close()
        timing = read_timing(options["out"])
        if options["json"]:
            self.stdout.write(json.dumps(figures | {"timing": timing}, ensure_ascii=False))
        else:
            self.stdout.write(told(figures, timing))

    def _world(self, preset, options) -> World:
        """The world named, one with the files named, or one made in the run's folder."""
        if options["world"]:
            return read_world(options["world"])
        ads_file, seed = options["ads"], options["seed"]
        ads = read_ads(ads_file) if ads_file else shop_ads()
        if options["queries_file"]:
            profiles, queries, dropped = read_queries(options["queries_file"], seed=seed)
            for reason, count in dropped.items():
                if count:
                    self.stderr.write(f"questions left out, {reason.replace('_', ' ')}: {count}")
            return World({ad.id: ad for ad in ads}, {profile.id: profile for profile in profiles}, queries)
        folder = options["out"] / "world"
        make_world(
            out=folder,
            source=BuiltinQueries(seed=seed),
            ads=ads,
            ads_from=(ads_file or SHOP).name,
            seed=seed,
            num_profiles=preset.num_profiles,
            num_queries=preset.num_queries,
        )
        return read_world(folder)

    def _sampler(self, preset, options, context):
        engine = options["engine"] or preset.engine
        model = options["model"] or preset.model or str(site.LAB_MODEL_DIR)
        if engine == "openai":
            from training.simulation.openai_sampler import OpenAISampler

            if not options["base_url"]:
                raise CommandError("--engine openai needs --base-url.")
            key = os.environ.get("AD_LLM_API_KEY", "")
            return OpenAISampler(base_url=options["base_url"], model=model, api_key=key)
        if engine == "vllm":
            from training.simulation.vllm_sampler import VLLMSampler

            return VLLMSampler(model, context=context)
        if model == str(site.LAB_MODEL_DIR) and not (site.LAB_MODEL_DIR / "model.safetensors").exists():
            raise CommandError(f"There is no model in {model}. Build one: manage.py build_lab_model")
        try:
            import torch

            from training.simulation.transformers_sampler import TransformersSampler
        except ImportError as error:
            raise CommandError(f"{error}. Install the lab extra: pip install -e .[lab]") from error
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        return TransformersSampler(model)

    def _click_model(self, preset, options):
        if (options["clicks"] or preset.clicks) == "behavioural":
            return BehaviouralUser(CachedEncoder(SentenceEncoder()))
        model = options["user_llm"] or preset.user_llm
        base_url = options["user_llm_base_url"] or options["base_url"]
        if not model or not base_url:
            raise CommandError("--clicks user-llm needs --user-llm and --user-llm-base-url.")
        key = os.environ.get("USER_LLM_API_KEY", "")
        return UserLLMJudge(OpenAIUserLLM(base_url=base_url, model=model, api_key=key))

    def _about(self, options, preset):
        """What the manifest further says of the clicks."""
        if (options["clicks"] or preset.clicks) == "user-llm":
            return {}
        return {"encoder": SentenceEncoder().name, "user": asdict(UserParameters())}
