"""`manage.py benchmark clicks`: measures a part of the site. Each app names its own in a module `benchmarking`."""

import json
from dataclasses import asdict
from importlib import import_module
from importlib.util import find_spec

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError


def benchmarks() -> dict:
    """name -> function(seconds, rounds, say) that returns a dataclass, over all apps."""
    found = {}
    for app in apps.get_app_configs():
        if find_spec(f"{app.name}.benchmarking"):
            found |= import_module(f"{app.name}.benchmarking").BENCHMARKS
    return found


class Command(BaseCommand):
    help = "Measure a part of the site in surroundings of its own."

    def add_arguments(self, parser):
        parser.add_argument("what", choices=sorted(benchmarks()))
        parser.add_argument("--seconds", type=float, default=5.0, help="how long each measurement takes (default 5)")
        parser.add_argument("--rounds", type=int, default=3, help="how often; medians are reported (default 3)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, what, seconds, rounds, **options):
        if not 0.5 <= seconds <= 600 or not 1 <= rounds <= 100:
            raise CommandError("--seconds is between 0.5 and 600, --rounds between 1 and 100")
        try:
            report = benchmarks()[what](
                seconds=seconds, rounds=rounds, say=lambda line: self.stderr.write(line, self.style.NOTICE)
            )
        except RuntimeError as error:
            raise CommandError(str(error)) from None
        figures = asdict(report)
        if options["json"]:
            self.stdout.write(json.dumps(figures))
            return
        width = max(map(len, figures))
        for name, value in figures.items():
            self.stdout.write(f"{name.replace('_', ' '):{width}}  {value}")
