"""`manage.py export_feedback --out FILE`: what real visitors clicked, for run_irpo --feedback."""

import json
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from training.export.choosing import PER_USER
from training.exporting import NothingToExport, export_feedback


class Command(BaseCommand):
    help = "Write billed and valid live answers as online data for the reward model (docs/feedback.md)."

    def add_arguments(self, parser):
        parser.add_argument("--out", type=Path, required=True, help="the file to write, such as feedback.jsonl")
        parser.add_argument("--per-user", type=int, default=PER_USER, help="answers of one visitor at most")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        if options["per_user"] < 1:
            raise CommandError("--per-user must be at least 1.")
        try:
            tally = export_feedback(out=options["out"], now=timezone.now(), per_user=options["per_user"])
        except (NothingToExport, OSError) as error:
            raise CommandError(str(error)) from error
        found = {
            "answers": tally.answers, "users": len(tally.users), "shown": tally.shown, "clicks": tally.clicks,
            "clicks_not_counted": dict(+tally.not_counted), "left_out": dict(tally.left_out),
        }  # fmt: skip
        if options["json"]:
            self.stdout.write(json.dumps(found))
            return
        self.stdout.write(
            f"{options['out']}: {found['answers']} answers of {found['users']} visitors, {found['shown']} ads shown,"
            f" {found['clicks']} clicks"
        )
        for title, counts in (("Clicks not counted", "clicks_not_counted"), ("Answers left out", "left_out")):
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(found[counts].items()))
            self.stdout.write(f"{title}: {told or 'none'}")
