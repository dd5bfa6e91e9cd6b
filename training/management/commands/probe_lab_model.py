"""`manage.py probe_lab_model`: which skills does the lab Ad-LLM have, one by one?"""

import json
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Probe what the lab Ad-LLM can tell apart, on unseen titles, ids and bids; exit status 1 on a missed target."
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--model", type=Path, default=settings.LAB_MODEL_DIR)
        parser.add_argument("--candidates", type=int, nargs="+", default=[10, 100], help="how many stand in the list")
        parser.add_argument("--questions", type=int, default=200, help="for each skill and length of list")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        try:
            import torch

            from training.lab import probe
            from training.lab.check import load_model
        except ImportError as error:
            raise CommandError(f"{error}. Install the lab extra: pip install -e .[lab]") from error
        if not (options["model"] / "model.safetensors").exists():
            raise CommandError(f"There is no model in {options['model']}. Build one: manage.py build_lab_model")
        if min(options["candidates"]) < 4 or max(options["candidates"]) > 300 or options["questions"] < 1:
            raise CommandError("A list has 4 to 300 candidates, and there must be a question.")
        if options["threads"]:
            torch.set_num_threads(options["threads"])
        model, tok = load_model(options["model"])
        figures = {}
        for candidates in options["candidates"]:
            figures[candidates] = probe.probe(
                model=model,
                tok=tok,
                candidates=candidates,
                questions_each=options["questions"],
                seed=options["seed"],
            )
            if not options["json"]:
                self.stdout.write(f"{candidates} candidates")
                for skill, row in figures[candidates].items():
                    self.stdout.write(
                        f"  {skill:<20} {row['right']:7.1%}   chance {row['chance']:6.1%}   of {row['questions']}"
                    )
        if options["json"]:
            self.stdout.write(json.dumps(figures))
        if problems := probe.missed(figures):
            raise CommandError("; ".join(problems), returncode=1)
