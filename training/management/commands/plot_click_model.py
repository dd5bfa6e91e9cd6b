"""`manage.py plot_click_model`: the built-in users of the simulation in pictures and figures."""

import json
from dataclasses import asdict
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Draw each effect of the built-in user to OUT/clicks-*.png, and print the chances of a click it leads to."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--out", type=Path, required=True, help="folder of the pictures, such as docs/images")
        parser.add_argument("--answers", type=int, default=500, help="answers to measure on (default 500)")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        if not 20 <= options["answers"] <= 100_000:
            raise CommandError("--answers is between 20 and 100000")
        try:
            from training.dataset.encoder import EncoderError
            from training.simulation.click_levels import report
            from training.simulation.click_plots import draw_all
        except ImportError as error:
            raise CommandError(f"{error}. Install the training extra: pip install -e .[training]") from error
        catalogue = Path(settings.BASE_DIR) / "campaigns" / "data" / "catalogue.json"
        try:
            found = report(catalogue=catalogue, answers=options["answers"], seed=options["seed"])
            pictures = draw_all(parameters=found.parameters, similarities=found.similarities, folder=options["out"])
        except (EncoderError, OSError) as error:
            raise CommandError(str(error)) from error
        figures = {
            "pictures": [path.name for path in pictures],
            "similarity": found.quantiles(),
            "levels": [asdict(level) for level in found.levels],
            "agreement": asdict(found.agreement),
        }
        self.stdout.write(json.dumps(figures) if options["json"] else found.text())
