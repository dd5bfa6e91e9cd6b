"""`manage.py import_ads FILE --out ads.jsonl`: somebody's catalogue as the ads of a world."""

import json
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.simulation.catalogues import import_ads

SHOWN = 20  # problems on the screen; --json has them all


class Command(BaseCommand):
    help = "Read ads from CSV, JSON Lines or GEM-Bench's products.json, check them, write them as JSON Lines."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("file", type=Path)
        parser.add_argument("--out", type=Path, required=True, help="the file to write, such as ads.jsonl")
        parser.add_argument("--format", choices=("csv", "jsonl", "gem-bench"), help="default: by the file's name")
        parser.add_argument("--limit", type=int, help="draw so many, two of one category at a time")
        parser.add_argument("--seed", type=int, default=0, help="of that draw")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError("--limit must be at least 1.")
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
