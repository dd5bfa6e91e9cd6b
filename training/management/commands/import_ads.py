"""`manage.py import_ads FILE`: somebody's catalogue as the ads of a world (--out), or on the market (--campaign)."""

import json
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.simulation.catalogues import import_ads, read_catalogue
from training.stocking import Defaults, NotStocked, stock

SHOWN = 20  # problems on the screen; --json has them all


class Command(BaseCommand):
    help = "Read ads from CSV, JSON Lines or GEM-Bench's products.json, check them, keep them (docs/worlds.md)."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("file", type=Path)
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--out", type=Path, help="the file to write, such as ads.jsonl")
        where.add_argument("--campaign", help="put them on the market, in this campaign of --advertiser, for review")
        parser.add_argument("--advertiser", help="with --campaign: the name in its pages' address")
        parser.add_argument("--bid", default="", help="with --campaign: of ads that have none of their own")
        parser.add_argument("--category", default="", help="with --campaign: of ads that have none of their own")
        parser.add_argument("--format", choices=("csv", "jsonl", "gem-bench"), help="default: by the file's name")
        parser.add_argument("--limit", type=int, help="draw so many, two of one category at a time")
        parser.add_argument("--seed", type=int, default=0, help="of that draw")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
        if options["campaign"]:
            self._stock(options)
            return
        try:
            imported = import_ads(options["file"], form=options["format"], limit=options["limit"], seed=options["seed"])
            options["out"].parent.mkdir(parents=True, exist_ok=True)
            jsonl.write(options["out"], imported.ads)
        except (DataError, OSError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            problems = [str(problem) for problem in imported.problems]
            self.stdout.write(json.dumps(imported.counts | {"problems": problems}, ensure_ascii=False))
            return
        for problem in imported.problems[:SHOWN]:
            self.stderr.write(str(problem))
        if len(imported.problems) > SHOWN:
            self.stderr.write(f"... and {len(imported.problems) - SHOWN} more")
        self.stdout.write(f"{options['out']}: {json.dumps(imported.counts, ensure_ascii=False)}")

    def _stock(self, options):
        from campaigns.models import Campaign

        if options["limit"] is not None:
            raise CommandError("--limit is for a world's ads: the market takes the whole file.")
        campaign = Campaign.objects.filter(advertiser__slug=options["advertiser"], name=options["campaign"]).first()
        if campaign is None:
            owner = options["advertiser"] or "nobody: name one by --advertiser"
            raise CommandError(f"There is no campaign {options['campaign']!r} of {owner}.")
        try:
            catalogue = read_catalogue(options["file"], form=options["format"])
            made = stock(catalogue, campaign=campaign, defaults=Defaults(options["bid"], options["category"]))
        except NotStocked as error:
            shown = "\n".join(error.problems[:SHOWN])
            raise CommandError(f"{error}:\n{shown}" + "\n..." * (len(error.problems) > SHOWN)) from error
        except (DataError, OSError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            problems = [str(problem) for problem in catalogue.problems]
            self.stdout.write(json.dumps({"ads": [ad.public_id for ad in made], "problems": problems}))
            return
        for problem in catalogue.problems[:SHOWN]:
            self.stderr.write(str(problem))
        self.stdout.write(f"{len(made)} ads of {campaign.advertiser} wait for review.")
