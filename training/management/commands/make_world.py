"""`manage.py make_world --out DIR`: the ads, users and questions that a simulation runs on."""

import json
import os
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.dataset.jsonl import DataError
from training.simulation.catalogues import SHOP, shop_ads
from training.simulation.making import make_world, take_world
from training.simulation.queries import BuiltinQueries
from training.simulation.user_llm import OpenAIUserLLM, UserLLMError
from training.simulation.user_queries import UserLLMQueries
from training.simulation.world import read_ads


class Command(BaseCommand):
    help = "Make a world: by a built-in grammar, by a User-LLM, or from your own files (docs/worlds.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--out", type=Path, required=True, help="folder of the world")
        parser.add_argument("--source", choices=("builtin", "user-llm"), default="builtin", help="of the questions")
        parser.add_argument("--profiles", type=int, default=3000)
        parser.add_argument("--queries-per-profile", type=int, default=5)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--base-url", help="OpenAI-compatible endpoint of the User-LLM")
        parser.add_argument("--model", help="the User-LLM's name there; its key is read from USER_LLM_API_KEY")
        parser.add_argument("--concurrency", type=int, default=8, help="users the User-LLM speaks for at a time")
        parser.add_argument("--ads", type=Path, help="ads of your own, JSON Lines; see import_ads")
        parser.add_argument("--queries", type=Path, help="questions of your own, JSON Lines; none are made then")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        for name in ("profiles", "queries_per_profile", "concurrency"):
            if options[name] < 1:
                raise CommandError(f"--{name.replace('_', '-')} must be at least 1.")
        try:
            made = self._make(options)
        except UserLLMError as error:
            raise CommandError(f"{error} What was asked so far is kept: run the same command again.") from error
        except (DataError, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(made, ensure_ascii=False) if options["json"] else self._told(options["out"], made))

    def _make(self, options):
        seed, ads_file = options["seed"], options["ads"]
        ads = {"ads": read_ads(ads_file) if ads_file else shop_ads(), "ads_from": (ads_file or SHOP).name}
        if options["queries"]:
            return take_world(out=options["out"], queries_file=options["queries"], seed=seed, **ads)
        return make_world(
            out=options["out"],
            source=self._source(options),
            seed=seed,
            num_profiles=options["profiles"],
            num_queries=options["queries_per_profile"],
            progress=not options["json"],
            **ads,
        )

    def _source(self, options):
        if options["source"] == "builtin":
            return BuiltinQueries(seed=options["seed"])
        if not options["base_url"] or not options["model"]:
            raise CommandError("--source user-llm needs --base-url and --model.")
        user_llm = OpenAIUserLLM(
            base_url=options["base_url"], model=options["model"], api_key=os.environ.get("USER_LLM_API_KEY", "")
        )
        return UserLLMQueries(user_llm=user_llm, model=options["model"], concurrency=options["concurrency"])

    def _told(self, out, made):
        counts = made["counts"]
        lines = [
            f"{out}: {counts['ads']} ads in {counts['categories']} categories, {counts['profiles']} profiles, "
            f"{counts['queries']} questions ({counts['train_queries']} train, {counts['test_queries']} test), "
            f"{counts['distinct_texts']} different texts, {counts['texts_in_both_splits']} in both splits.",
            f"Source: {made['source']} {made['model']}".rstrip() + f", seed {made['seed']}.",
        ]
        if made.get("response_format") == "refused":
            lines.append("The server does not know response_format: the form of the answers was asked for in words.")
        for name in ("retries_or_failures", "users_without_questions", "dropped"):
            if made.get(name):
                lines.append(f"{name.replace('_', ' ').capitalize()}: {made[name]}")
        return "\n".join(lines)
