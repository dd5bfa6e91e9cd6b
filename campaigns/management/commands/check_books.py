"""`manage.py check_books`: verifies every invariant of the ledger; exit status 1 when one is broken."""

import json

from django.core.management.base import BaseCommand, CommandError

from campaigns.books import INVARIANTS, check_books


class Command(BaseCommand):
    help = "Verify every invariant of the ledger. Changes nothing; exit status 1 when one is broken."

    def add_arguments(self, parser):
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args, **options):
        violations = check_books()
        if options["json"]:
            self.stdout.write(json.dumps({"invariants": len(INVARIANTS), "violations": violations}))
        for violation in violations if not options["json"] else ():
            self.stderr.write(violation)
        if violations:
            raise CommandError(f"the books do not hold: {len(violations)} violations", returncode=1)
        if not options["json"]:
            self.stdout.write(f"The books hold: {len(INVARIANTS)} invariants, no violation.")
